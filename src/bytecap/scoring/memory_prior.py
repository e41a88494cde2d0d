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
    "Dyi`(WV5<5qM4quQ8cR~T(apg>nF#r-zT6l0K7H25u;I~YANFy5w2LMH!VCPdNlSe*P?bMKRDScG_WYKLn{)oua^Zg0KBg<#Ex9BGBAHMYbnb$wk"
    "@$S_B8S~9yCEVS|(AYmNxl13$3HA|F@g8qPGA%X&sKHWV+!iJuO74<*r1m&MMieogzFetu>)CN;IoC>>&uP&Nw$SeX;;N$0d;)(4(C(`mg4)gR!7"
    "6h%*Q{iYZUARXLe6S2B7#IWe}hF|ZD-FS!6bX)zkKWvk?~z8u=NLa&{sm@fdlVJtzhX}M!EP&O7g>N8)kY`W|o#4s~1;-JZ%4zdKfD<;4+E3c%dF"
    "R;_HWitsc{Io8jP_@u2SE<Xk06fgD#5TJ*og)yeJt#^!^dL8_wXQUyu%vP{iY#6#Z8!uny)A4lN-zVmnkZ|prL6$GL?-p9^{zrMQm8_%iLhfZOe@"
    "H?DK${8r7`m@8nSgVUN$Tx2f9fy0KDTX+8dd$gs}cJW-szJkg+x|q^X52O)HJCF1GwDF0?$jMl2R5;<6Yu=CQT4#-*^ZzOdvoP&5EM=`L)fjxEi$"
    "iz#TfN-Ni}iMd&}u%YuU3%Fq`-Z=m~i5@p4_9(ov;;mdS0;n4>^fAFR<T2waf-D*<FfN2KiZP_E>9W%@)4Kq?9whgzx+{XQ3b6LBwXEx;Zlm=yiZ"
    "M)}+Oce@M=CI@m#Ipz7dJ&RzOwqbv!qk1F0cT+qAq<nMy&@ZfE}<dC?#Sn_%??mMz8?6h%lSDj<tlR0k#0VnVglUSF91ahbQwf@Tl=9tgR>zJte*"
    "()u5a#SE<1<$Qr7!ShRPp0K6)+qM?VT#HL8GIxi(QDyuCeqN7wWA*Z9REw>gdz^z6tb*c%t7P+!6i?{&1W~IBT)2KnWVlYZI&9F|W53Ry3XQaoi9"
    "-#E5K%g-tZ!6R+7Pd0Cj<enzQZf!Sf3D{=e5|82#;mF}!nF*kb}z-X@+6P3NwJ={!mbcBAF-A%SF_kK=q*7wjV@g{rLbr$VyZ+jjfrrm*e?U2Suw"
    "vTnkQtmi7ZPrZM1?d<1xOgCo5>DPBovi#U7V0i#MCNaX1>MJt0pfuQjwZ4l0YSQz!T(wy!TP11yg+Xe}4D3b1@FKr&*mIVU`(CNzAsvoM>s`!)|V"
    "60o?rCM6LWz%LCl&n(#_<}&XhTPsQ^$uVKD-?3M;rJqzVaItePQ7&*6|1vMFTQXQEkh52{ela(=<DAPcur-}C&Mg6_oiEs;5w4&wkt|Ll)-+hP{4"
    "6*wgQY&Yc_R}hZ<t>!oGf@PX(4yDudy#Q>#lhycOv*Kuqkx1qpU-+qO+c}yDVR^#<T^s%A*r3cA;Y{TQCH$&ndpDt1Bd_dmvaWATY!vBd!%Fb)qI"
    "Ijx3g`LnBuvq$x<C?x?9S)UZ4<A}RqWz$YZEqbk9n4y6zmvZ|7<VzAvaRH0HeZKvieAFpaAfeI6;vnAvx1S@x)sG;SYbFzf7eJ5zUNkh55tG8vm4"
    "!euEmb&M@(l;q9^}5QqtFyegh`yGyp{`XhcQCauyf6VY=rw6K>p1N>3OYqRGd`$5GquhrelGVf12U>H"
)


def built_in_mixture() -> Mixture:
    """The weights, stored as float16."""
    numbers = np.frombuffer(base64.b85decode(_WEIGHTS), "<f2").astype(np.float32)
    sizes = (UNITS * N_FEATURES, UNITS * N_PLACE, UNITS, UNITS, USE_CLASSES)
    feature, place, bias, output, used = np.split(numbers, np.cumsum(sizes)[:-1])
    return Mixture(feature.reshape(UNITS, N_FEATURES), place.reshape(UNITS, N_PLACE), bias, output, used)
