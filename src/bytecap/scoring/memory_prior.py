"""The weights of the mixture that come with the program: how far a memory may be trusted, whatever the text.

In:   nothing.
Out:  a Mixture.

They were learned by gradient descent on training documents, Python source and English web text, behind models of
250,000 bytes; no held-out document had a part in them. `benchmarks/memory_prior.py` makes them again. They hold
648 numbers about counts and likenesses, and nothing about any token.

Letters: H hidden units.
"""

from __future__ import annotations

import base64

import numpy as np

from bytecap.scoring.memory_candidates import N_FEATURES, N_PLACE, USE_CLASSES
from bytecap.scoring.memory_mixing import Mixture

UNITS = 16
_WEIGHTS = (
    "v!U7@x+0@5aIiov-MHAP0WAQ$i=tj6%Cfbn5h^aH?JM%8fUz{NouYLiEiD8x{<0Y<k)S-WDWsOKMlA=gZ>b}&xGw;_hP!1nin#T(IIMgzHM=3ZFt"
    "I`_nJ)7*6}9RxJhe}t1t|u!HZec5Mk=W>sxZSQpSXV}3%RMV7OR0R96B|qU@!nY{V&lr(Y5k2uC<^z<r#0bls6)u0K5S!?JCQ#(mRbbE4pdB6tjA"
    "?3pSawGPPDUzbvvYG`W#DM!Al$+B*xjHZ%M=)V1ch$2b7IkFzB>bfqCIPB%8Uxi1_z<g*GiRj&rO*Qg#gqc<ryJT$DQ#x<cfKBWLW2Q&6HvNU(JD"
    "zgQp%O%*j?mAvJP`PfnxilrFDXLa2bg}@vlrelN$uVy*y02t4@ho60Z!UVNjIKpCg)Hr@y06=y{ic4M3Z{NAim!|{do73@x-!MDQnV$nhqnN{_OP"
    "L;rnL#PSghGM$1a_-WUd4==CH)Bn<+Rlp)ZywE3g2(QZY`re6&X_nz6qy%(8;EceP}$dN^k^004%kw5`cB=&TtyD5f1Z0j+SYe5|!JKQi<*06g8P"
    "JF>GPth9<P%ebg7!LYHo?kM4;9V+o9OSI9i%_*id=&foj>9g1|tF8{ZR=U2aU9%6k=MoVv7Pdetf;dUASSrA)6R^BCA1(kqN3OIu0x+zq01$SpEv"
    "a>>7O*R>0K6BmZ7NJ706J(Mnz+8N{-z)+zAX5tpP9;~;+;vVnXYmm+^8)kxuZ$2^{odgQ?C^;G%DGqx+{4r1h9oACMK}0KdB0xgfIX+V4|)#l&xN"
    "m#Um4~79kd`L@qcW;kux+`Ks@=PB&vIEv?lz{;0>S6sUZ+B`>8pM=t<8@~HkVtgkJw+a_+Xt1eI^TeQKf7Al{$0K6ltLAR$ig();91gl`OK__=O-"
    "mnWcfvoi>2c)ztJ}DKg)uPQHSE#@cR39H0b*vGlLbFP?mM9{qq^MM^F(Au2aU=jdsi_yS`7ORKlOp#l_AN=UrY$3<5v_+Jt*lBcJt&_f{4YthTBr"
    "xFOQmY8Y%KAxXCjfSPcBO$VWz1ulOdiq>oGj7JTwKg^C$(iz%!*R(=g4mb+kOTmoZ^787u&;m$Fc@bhDH)h_{KeYqnxBBeN?z3pT~6c{ymZ#ym~A"
    "3_4q|NI87A1u@CFA*o-iJh14n-8Kriel~cz4j`Ys7_?NrrL+(*c%&FHb{WO8UN6V1Coq1iSuMD;(yeK@r=FC!eyzeWtFrd9D=(6)Hli@Fn5|K^oU"
    "8Djw=#mXkuIqyg{io(;46Zu1TeLy7@;q$NTv!Y$|#+&$s{-@cc_N6#4fz8h$3dW@TycP;3aD%bSYUQsvI>i<0B`ks3^oGKe28vAET2U{;3xnuPEK"
    "I*)s_to2bRO{4naRu`Tnefv}e|8zeTKXtlRD`ltphkuV`KUn{4phA-5uZ88qCV=zvvM=)})Yoiq^R~U+_{wO1@N21Uwhp&AzjIg>gBe0k-0x3Q!_"
    "$FyD=PjC~xt;POH7MOJO|jW9(5A&A0UtdrjH(^5<17cQI4^mwE+q012CmpEX|R+rcsy1(M#Y|>n8)Kf!MJ$3QZbji%fD(itiQLuue~n6m%Eg=PPT"
    "fnv?}N<kvKFt;yEEYMm^O&bw33`d_hk|VklZR1viH`bvR-;"
)


def built_in_mixture() -> Mixture:
    """The weights, stored as float16."""
    numbers = np.frombuffer(base64.b85decode(_WEIGHTS), "<f2").astype(np.float32)
    sizes = (UNITS * N_FEATURES, UNITS * N_PLACE, UNITS, UNITS, USE_CLASSES)
    feature, place, bias, output, used = np.split(numbers, np.cumsum(sizes)[:-1])
    return Mixture(feature.reshape(UNITS, N_FEATURES), place.reshape(UNITS, N_PLACE), bias, output, used)
