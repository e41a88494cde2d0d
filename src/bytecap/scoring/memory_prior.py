"""The weights of the mixture that come with the program: how far a memory may be trusted, whatever the text.

In:   nothing.
Out:  a Mixture.

They were learned by `benchmarks/memory_prior.py` on training documents, Python source and English web text, that the
three models of 250,000 bytes before them had not read; no held-out document had a part in them. They are 870 numbers
about counts and likenesses, and hold nothing about any token.

Letters: H hidden units.
"""

from __future__ import annotations

import base64

import numpy as np

from bytecap.scoring.memory_candidates import N_FEATURES, N_PLACE, USE_CLASSES
from bytecap.scoring.memory_mixing import Mixture

UNITS = 16
_WEIGHTS = (
    "H5F2;?yNN_rLJ`?&#N@1CbHSP>8?1k0K6)pl{$j97c1u^J-9QlC924=fFb3x$*pKA0IL_QgsPY+C8#hgf}x455Uji<*1BA@a42}Vi!z$5^s59iHW"
    "<MeYor=1xg2>qpsD~ob1p+D)g|esQ?&afp|%e>2QsWO0KCOCnW_w;&@_>_vNf_h1TYJ_I;JPE+P7*uJ+$wsOr&VCv#RDDA+?LP9Jk}FeJ=|vkugO"
    "rnlURaMl!OnmoAndp0T{M-njrg*|Fj<Oc@g|DzGLw`7Sy*EjMGQ5;h65x3&O001*r}EI8k-C^R`ZQnH@9kTC6)p|vft7`etcr!8T*yEx!4lq~lz-"
    ">o69%{3vYkT?>wa4kEpTrQfh^QZ~5zPCIqASQ35psQD|jyIVp=QQfJcc^x;0KBHM3n<s6gD4&uBQbTRZa2I)<ffXg2&8<WS0rP#{xF~-Q?wVY!Kz"
    "NR0KCMjA~$?7{HfBcN3p~%Lo)g~aIMBShor`<6DU8dv8@j&eyrIbrzowhfST1Pa;*y~6C|&o>L^1ey{e_8NgYJ0YpaE%5hnmVE-89DW-AaTPbhbs"
    "7O)yMgti2-&@-tq#Wzhg;WFAdku{yUr8!%)0KC6Bqo6IaXEevKva%#GvZ7@$&aG!IStNF~W-&&sgRlU+v#sf}zPWs`$hOn89irha!KtmJ0<{t$=O"
    "?KnS}&fmsIoaRqAkFt>YhBV54J$IW2b_xs5VC|r?0EH9=3WShAEP;4kI|RPPFwf06bi|gd)AK3^FpbA0Oc|3avygs}ZB8QZmsY;I|q#)3yM-_&Hy"
    "+zc~Xr<haYVp*5tpqAct$E;HD)Jv3IdNw@Z}&oF5?khie7=Ql?$3Nm>&KCPk^Ii7GelQq08Td!C)%DQr_dNZ}50KCYkxVvLGH!3`{9ks%)z^*|uU"
    "bGP`LoSf8ld`C_-mS+rhp8g4wJBD#{40f|Cb|H;q_kAIo~v9ai7Ym_nI{vgK&25liLkvfd$6%A;xZyG&$48*XQGD~SFnF5_NQ620KB~}Yp4-6E*#"
    "=6sjl3!ubz{y%N>0wNvV(~;4c9#C9fK=!7jtA4=gk>d8eA8@}+jF)fUvT60|d_9<#!(|D_|cYpSL!J-YzB`XQT~qcEqlw3{CzOd!%K=cy+o?G|G+"
    "1)t}w@h@sPY%24dO(#&W2rU4srmDQMgQGB_zb`PjQ8O8=b2t31nyp+g>oJ}$^{59dE}zP>mo6%=Y^{$f+pumjTd_4YEwV%{e=GvDIjw6r)2JY{4l"
    "R+P%`AT{m9aZ4;xa(FI4SKkpf(Y-$vLPoQZ$>bEH+fNMKjmC(LrH4sKDX3le&~V3`29btFB`(ATnFI#i-!3jV<}DB`<lk5HHQStuzj~Rz6U`Qa-d"
    "hq%*^yEv{O(w5nREu`R_k6tj-C);XiM4>&ZqNjCbq+c0o2&ZNY&R6qi`E--tzo~&cP13ojWMZ7n)qpY$p^)PX^MzoqPT(yEUiLxO$p|LuzNh=?#k"
    "Tl}AHm+ti05_Gl1hxS*o;+(WL@RSFX($mgZKbrR_ogK#J19gjTcpJ)7OYgNFCwS6QZf)P+OXKNfj6kJh$`4HL7zY+;-5mU?=Ft5#xAO^G%o$DMJq"
    "9_Zm74UaWT5HBQ#^H;4uI#X0Wg=!6aWOy|QaGm9Mk9(KhI`AT@Tl2d!wigtAk)(looU;Wsh8Cp;`X=QO7|^fA-AH8M7``5_do?;ejXqO21jI<K^_"
    "Kc=>+W-ZIDrL5AkOup<fGPL8Wez0h@+Bvwj4Y$y;ou{6zQZMzZUND~}H7Z55A1u17*Q)oZ_Os<0v@;X91~5ggMKbd>F|pJ!Eh&vH4Y&^{zcHjKem"
    "X0$96Xb_Mm&zY(l&FrcsO^r%QzFYjy)ha(YSLvT{)f|552RvLoF47RV?GPjy1T9V>L9n>@RvX$ugoXlD0fKXE#-}WjKvLD>ywi)3_csle-HnpR92"
    "(v8_|F!ZBa72D5{%FSEI&cqx;rUNK)a|1TB12`H*H>#!`QXuPH}{5lymA|x~zU8tHg%An$*y(lj%*q=G1XRKzZ<Eoe@sJP~?xwLSw9xZLL);K1xt"
    "FbPyjirzy#G?<Wvm6AXb)>GTS*p>MjjCTQ>LaxvK`>OYA*#PLQ>WmoPOG*ZKQPlL>o^C$55>vGufrfay}a<g`oi-;__|ia#JzaE-ZA{O47q4ONGr"
    "&)bt;~;nLE2e{4eY_k-Bjyb~8UWE<Y^BjW{JYa5WP(%rrMN"
)


def built_in_mixture() -> Mixture:
    """The weights, stored as float16."""
    numbers = np.frombuffer(base64.b85decode(_WEIGHTS), "<f2").astype(np.float32)
    sizes = (UNITS * N_FEATURES, UNITS * N_PLACE, UNITS, UNITS, USE_CLASSES)
    feature, place, bias, output, used = np.split(numbers, np.cumsum(sizes)[:-1])
    return Mixture(feature.reshape(UNITS, N_FEATURES), place.reshape(UNITS, N_PLACE), bias, output, used)
