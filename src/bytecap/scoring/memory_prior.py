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
    "^s6zfSTTDuW29xC*{r7~tg_~{$S9n$)VJ#=(J_O%;jOo!0KCJklQ6xo+pWARGqArTt0_&im@QwfA+-;=<goy}B(-6l@4C9S1TH`(a<h%NNwK0dtF"
    "$ICUa!qA(Ix${@G}S%fv8w505DWErM7*nS+_W`RI#h5K{g1ZA*%p9>nmR}owxNVIT(Yvt~A0ea<iN)YA~!eWgru;0KAQ%EiGQE2CiMSwH}+ZL$%j"
    "58n<b=zc=}`QMP6~UoQYWb29w5c`sBrU$ZqQJ2c0#6FXu!f4Bp+Dy|(cHMaXSF)~NEkvKA~&$<A-j4PYBBsK`JdpNx~=`j$nbF>UOW4DXAz^zj;j"
    "I&QVfTfYL0K7(_O0M^}S1AIm+$_+vH@m!+{xVCjHMWkh8MOB-F0r9APOXQf_cbiAI5q$@(6oE84K#ZsFt|Oq47vck<1J#dX)^>f<F27Fh^&pC0kj"
    "w<H#G4wBr~-ve6+>1dnjut0KEJznz+9=*C_&~Ik2+1wz31HVlV%nF0MDYEGtE@1TZ$5HJn8<WwD+v0K8|h6|Ux}X{Xa9cdOX4F|GJ0AFMtz@+}*x"
    "oiEF<Y^s5$P_QVmtR>U56Sxwj5hVaTku09ENGbla9IeDDg0B7~@+9jkXDTbJj4~)Kcd)W4`z}MS-79Yz5TsS78YY&lKCd6GZ!G{k4XtCO{-W9`Yo"
    "lelRWuGPi@Hf7?kIIFpf`smg0;xDMTbYP>#k6=$1ngqxGmnPQ7ON$(x_mrQlk;50K9>)lP;{U05!uTHMGIBgsJBz$RfKdO(Iz;6s#90h^ucVE-H+"
    "!h_H1e-mNpSKOy%bWT`bSr?Awmuq8XJWvxanZ!7>jK&j{{>8a==0WH$6<E+9a3al!eNghA0-n55_?YA~2C@FNOwyMynN1^~cCZv5LX)z@#jIL7;I"
    ";vYOMkzlf5if?dP%#&=sGT^dimneeKrI2WiJkkcVx_059Ia+4d9-}E%B@$X*`ZT5r7x<mBQAHcoG-$(oHHh|Ume4tEw&c5A~HohUMZ9|q%V~%@i8"
    "zohp<R688ZX8$)HX)Xf)`x&oV0>UO7IshdGq4D>ae0kTx&5jUxau%(70j_%o=efH~y0TQ*{~yERZKOEn(40~CBUz%dE5vM~;^d@fD5K(R@!rmYaU"
    "<uA)H1gA<e!7`$-2Q(S6@-_0edodrh+pK`Rq_kAHV<{^vl`rF?9xmD<xG~wWZyesRiXoLWt(%OMARS?-`K-+@si=x1A|uwaK_arW7AiBao3JXQ?V"
    ">3zY$cy8U@!}?+bjRBg|GLrRx5+78mai7<E>pQ$|T7$j4v>-6f$D4VKIxZ&M)t)E+LYgTcSHH2CCXH6Ce?+w61|N0HC=q7pR^t9<f$4iY`SYoTQS"
    "rOD&MCET$VQ>9Ex^$gc4+HL(LUV<8JI=PrJutSLyRek(evp(V1CRw)IR_AZXG2_sP~+N_zZt1Qv0r!FI_lPNr!k+0q@9jWv&E;?zjw!)@6`oyTcB"
    "EEmVn!5)%sJT17KfS;+UA*19D!x{|-ncQZ>@4guV>OaBVmo<0jXoYg@<Gx=*+aWU3a3Ri?=^2W**D8K"
)


def built_in_mixture() -> Mixture:
    """The weights, stored as float16."""
    numbers = np.frombuffer(base64.b85decode(_WEIGHTS), "<f2").astype(np.float32)
    sizes = (UNITS * N_FEATURES, UNITS * N_PLACE, UNITS, UNITS, USE_CLASSES)
    feature, place, bias, output, used = np.split(numbers, np.cumsum(sizes)[:-1])
    return Mixture(feature.reshape(UNITS, N_FEATURES), place.reshape(UNITS, N_PLACE), bias, output, used)
