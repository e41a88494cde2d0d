"""The weights of the mixture that come with the program: how far a memory may be trusted, whatever the text.

In:   nothing.
Out:  a Mixture.

They were learned by `benchmarks/memory_prior.py` on training documents, Python source and English web text, that the
three models of 250,000 bytes before them had not read; no held-out document had a part in them. They are 1,350
numbers about counts and likenesses, and hold nothing about any token.

Letters: H hidden units.
"""

from __future__ import annotations

import base64

import numpy as np

from bytecap.scoring.memory_candidates import N_FEATURES, N_PLACE
from bytecap.scoring.memory_mixing import Mixture
from bytecap.scoring.memory_record import USE_CLASSES

UNITS = 16
_WEIGHTS = (
    "w6t_IeYj?*1T^e40KAto46)y|OCsjE7Psy+3oU@UAhP?n9yla5xT>KwHaLnp*EMo2Osk+Vp`2~B&A9qFT_-oFnz56)6Rp%QpS3Ku7_0*<#JG#7Pp"
    "<Z;J*Lqt&$SM^b}^^3={74bM6>gvC@-10JGXeSSh}DyQ#JQ0i#YQ%DlS&IohSgi1v-Yb0K6T!3olEtpsq=?U$I-I@~!T!$g^N6bTrhnZZcl9GcyX"
    "ZDXa%4uNyp)E2>2q-y4!CDkuk>6Ddfp;haLL9JN>^M5P0_Z=y`2<sMNUd#Z`AgDiNl0KCN^7qM!cvM3-Q+nydR5~Lli;voR7)T$OHFR2D5Fe;I$$"
    "}8d|TQ8@ROEuA@k2H9+TqZ@Z{j^!EQ#Dd9WGEZBqd6a@m@bsCy{zc4mn=}H;xV4JWV3QFwKWtm3AE^}N~nRU0K87ORxB{BkfRMTmN9{;^Ek6Nq%C"
    "!_Qni+>Dy!A3Ypn+{ZY`3b(JP>zXE@FzUblfT_^ny70=J*7aks*^->w+00K8T$lCp8GO0GY+54mHg-L`(XPAUeXIUuU9L9MtO!l>7<{3-q}HnUo="
    "AT9|hlc`gy1|$d^ysELD3#jfeK`BkOjINZUJ-dG~?V;VV(K70=11gidVkOX_ys8*1b+-Df)-%zyh`DPbOS1tmXP@h=HmB~gL@)q6jjIDY)G<0KmZ"
    "syWxv`iokFjGUG9;*~_ps}&(Y8ssv8si*0KD!gvp5>NtcwA$5v~R_pttC@f3lmo9jqxaqPT@QMmBr8zd0H-qc?y!?Vx2Lpr!b-<)|pDk|5D6(z8w"
    "|!k>va)-e09g)rTuc{O#TX|;bccD1oIIXJ^Am^G+4gru!3tTzd>W2Ol#8l;CYA~^Rl_aW9WX0Vj7ce1{@^e}5O0KAH{b|}HP2P`18ov_L>a<bK`F"
    "E{k4S+?o8vaq+ITd;#I@u>(GRIGIt7O!)*@2uUl0K6<LmLYREYp4*l#;fD7ueDdS`7jkNJ~ops-n0?0C9-a{E4%NZJG9-p4JMMQVXYjg<0CXOxv!"
    "<HGc8Rc{4AUxK`D?d8>x#VJ|T9eHL(0FbFF8n(JW`IE-n!%A*zckNGh+d{491M_#U(<HYl2^tEHhUtFAGv+$yuO+N{Ya!=xsvlqce>imafb^D6*6"
    "%PG4$;VmvInk}v=s3||G&?UpC^&uXfsH<SCaUdS55~$j;HJ?i=skYQE!>~fNOFJ<y#<;XQ7p=vpxT(LYFt{$baI+6Gp|21t`Z5?S`mT?!^(26{ku"
    "cmg2{HgYJ0PeM$)I?qfh9R9%P=1%-Z2%WQ@Nrnq_@SfVlDb7RycVq|14lM<uG2bP%dD!(7AOuUM`$A7dCV)j4=+h`mpe}AULcqU9=80qO-d*Ua|K"
    "wSD|b<VKe|dYc~_D%r(}xtTtP*&n$tl8ZObLp{kND>9ssANi6QP__b~?JhfXXc`#O`{kRn~$-DbB(>8xAqA(IB_p^w#P9^{{TQMawf-(R+1gvAQE"
    "2o#NY_(t@1~Ixg=_`&hz$9L^aWh4=E;1{y0;dWjou`f{1*pibc$~egjkRVWc(PqKBq!^*Ub@FB&#wTy`KGoiVxc~<K)a5)z^W*><hd`cbEa{--6s"
    "dDPdIS3dMmdxBCGo?6RF!14>1*{cr1~oe=W<XgEG9JhOu`t+Oujfz$_iH_^nr_Ewb;it|%w2d$kcP0K8B)#4@uodnJvcV>K5yG%*D<P`6GmN3n4<"
    "%$(h_+b|R~EvJ<rF{$n%NihW|wlSuxWi6$u6)caeUMXNKh@AtaJSYh>fS`G`Td)KbL$qbKE-7%Y0KDI?Zn!nGg04`h60~nK@Gzt_y{jp>A3B_)$1"
    "S-qE}a#u6)C^904|9z^{fdi>Mawiy{aB7$EPPNS+LEUz%M?VX0lzcYba?ZwlqpD=r`%MJ2)US1U6)|F|I;1(KOI6O*>Gt88zCv;;}0=;5Oa221Hg"
    "o>bw&+549aS%f5#&*E_Q|13qH4R4qFwny+xVIy6MEA1eI0^svD)jw#SM9kvNLkTzSj@Hd;WdbEf(MX~iWW;6^exHAAg=cuVVo-l+SQ8hcZ+_)Yg5"
    "3o`mFsJpYA}N<Lo+HR83n)jWTqR&7(H|$RH7+@=rXz5jr6rmq^P!L^;wI^tMJ*Aq=&3WUCoU(b^cngoh%vOR0x3Z)Ix*BG=B4~D6);`1=(86tOtj"
    "E4O}76y@37yn;VgGA6tJ)|7_j{y5Hc7gg)Yf7EI9$Z=Q5lr);4OkwXs_{M?9Y`I59}E7dqJ~oUm9QM6e#L=`7i@46i@6I;;yWudf?5rm)^1`K1P~"
    "L?_@a0j_K~`x~Y*sIz`Hx~@1dFFG?gz$@Ff(6|k-sx6!`*0p6ZrlOTFbSP-C=PlT>Ij^HJ2doV<H>!vs&7hO7q%Q-oRiGp^GB5%)yQC;8bG1CVge"
    "v1Whce`}YaOSzi?jr`WIHgl7q)VuP_Mftg)Kn1{Hpn~*{9{S?X17Ddnfj_u(VyHMX92-LalExaxif_Tr43pG(2&*%&u=V;3Q2qXR5}qW4C~~QZ6n"
    "jg`oX31+-x_9~PjwKsbZ3C^`7K_BE`yb}kw*0j_zf7&*bX?KB^{94zoRXrx{@E<E+OUO}rkKsVzsXEZ#%f4MF-pDPTxExHJ|6si6fB&J?61C=$M{"
    "vkk^Xs|D=;i?ER=&zzMZ7qkZaw{b<m#^WoC#?gVMzT_=1hxdWy|2cs^fj@t^El2fATZgnHnj>Xk*O^vmX__XA1<w{VK67IxG%-9X)PzPjVZ~nhA$"
    "Sb04*q}k}YT}$SK*Ni#1HP=`<;@4Kn>QT(KQ8e=iBJz$42j?<q1EBrRGS*%<?$#Hv^$ys(-um$N-E+^ljjJ+C7!f~>8n%%f>3{H<QK6fCo@Pcj8K"
    "8#EZGZ8nOimoZ<od?_w5zq9<Tw;V4tE4E4}%rwfo`X@fOCNVLw?=oh!6td*KwKcl5X*G+r;2cUaqc~x(-YmN<5kc3&ctTLSVLFLCnm0(hXF({tsV"
    "$1Ojkr~)Fe!jAx2+nxrKTw;N+zzZL^Jv_MlM7$^ewb75;a~U!>)6<#3cZ&Ii*#+NHuA|h(BaJ=q9$e3%$@fG&wH3&oXB{o;y=CYODpVc_j-mx+^R"
    "px~meb)*Ztt4zN2bsIF))LMsCk*C;Ktimo{*8>+ph4X*X9Y$Dn=QZN%Le=J!cRyG^62rwn9;IiAMz$=#}p0Z=C4Ke((yE4VFS1fC@Q?oL*zObvgH"
    "#M2GTQMBD(=iA)La>UjEIi+}=eK>hhc4T?8$1d!fjPml(Xp$smMkza-<)Zuil(VG9VpJLQLXwUaju^*KCzlIl&!QZv7|mIDKa~;!K%A3ajH!(?6)"
    "K^T_h|v3MZzxR5~0bvMLcaI<z({CbnCupTqIIu&$as^R-dCl%=)9EFwd|f4$4e@WG9}9J?4ZZYotX{lS{9yEr#EXSDz<Ej#8tK0RrzMJ~&{ax!!~"
    "K{Q`3Zly-4+pHq4"
)


def built_in_mixture() -> Mixture:
    """The weights, stored as float16."""
    numbers = np.frombuffer(base64.b85decode(_WEIGHTS), "<f2").astype(np.float32)
    sizes = (UNITS * N_FEATURES, UNITS * N_PLACE, UNITS, UNITS, USE_CLASSES)
    feature, place, bias, output, used = np.split(numbers, np.cumsum(sizes)[:-1])
    return Mixture(feature.reshape(UNITS, N_FEATURES), place.reshape(UNITS, N_PLACE), bias, output, used)
