"""The weights of the mixture that come with the program: how far a memory may be trusted, whatever the text.

In:   nothing.
Out:  a Mixture.

They were learned by gradient descent on training documents, Python source and English web text, behind models of
250,000 bytes; no held-out document had a part in them. `benchmarks/memory_prior.py` learns such weights in the same
way; these came from an earlier form of it, so it will not give the same numbers. They are 646 numbers about counts and
likenesses, and hold nothing about any token.

Letters: H hidden units.
"""

from __future__ import annotations

import base64

import numpy as np

from bytecap.scoring.memory_candidates import N_FEATURES, N_PLACE, USE_CLASSES
from bytecap.scoring.memory_mixing import Mixture

UNITS = 16
_WEIGHTS = (
    "Hmn~Yu(FpcN~Kk_NUf8qmb1b%kRztK>AJ@*0KBKVy``imQY|^SbFRdsswu`SeyXpaT&1R`z>_ktLahO>o3T#0w4c|s0=coB0KCArHzE`%Rw@&-`y"
    ">G{I~_-^fUKme&N0m|=&Yuwv@98-_OdIv+O1_F$~JKxKB%;^LmkSY0KELQ1}x?*;G?21?X?K7%{WpfWw83Dmm;OEm@&vSbf)|;7qOeKb}Vu)hqG{"
    "{!Y^hlCK&)ce=ngs$h77*>$jIJBP?mSXE$~*F0gH|6e8CzVmP!i?Wte5%B~x)a4kKtFE0Q*%dR9goT@i69XMV&5iOB1d!HYyw5}~OgROutZ!%#uu"
    "PpwyGq5qZ0KEOJlO~%pc_@}RnzY9@M7qtlp*Tsn54W;1Q?LNMiZpjHs;ntDXtZ`XS2YW<@wEs$x3Bd&eYk?SvoI$sAFWxmO*TU*fUiC{%PnO%EHs"
    "KYl{ToTax616-Y*uj06h9O`njc~CN$eHCAQZ$m$zuPF+264+B%{+Fu7v5Xf=1TtFYE90K6VA0ykZ^geR-DJ+pr>Q?|r2B(L8x3^KbjhBM<c06ej&"
    "SFvohL$M<>E4B(UWV^$=C@t5te6b}qYPQC=1vI5G2CH8$bFRrGMzFlLTegTRI3EB!#vK^3Za11Er7{~ZSS3)bN3qGWX)HuD?6KgmMy;1Ld8q#+1u"
    "q1#0KCMo=dJ`ZP%6x_Q@4Svk+CkhZ!N*FyQH(S1g!9_RUo%8lrY|@A)+6!78)eDzA09(0K7=B2rzvr@-OrsH@5e+z^W7($Ryt|p(GJ4o0h07a<B~"
    "}bt|VV7cEh)E-6+me6JTTkS!yyey4FOYpn3Aw;9^4sHt<HkSPE>;w^<cdavWAd873x@v5b|(6=w72)BK$gQA_W(YGil;V}Tb04Y<h{Ht#?sWPNFI"
    "jSBt4ynZ<lAK*AK`4^0h^Voq=BgI3;-sju^e_gdLbot5tR`HhvaZ~$G$wdENU8ul!=$0A>Lz}!wUkDwM6AN8A0fjc8mo~gUYv{~ye11Rt}QSwdM@"
    "yr^O$ZZxu~YFl&w81iKG6Y*rhxmJTT@iIId%#)ukz{cPv4jd$H-QNU^drQ6UX70j0dV2QuEbST$9+PAZ%vDz9a%Ua#4s*{^J{e=nUoG%Ex)A+oVB"
    "2CzJt5vqB$k+Z6%#yCVX9y6}M6E~_Zh_Es>f3-q3p0;W%I;}r5M5zThQ8`gKsx;p-eK?`5={RDxBsDFvX*b%r)-J`Upsr!HBs5L9e>Z`<A2Aucd$"
    "Mi5`L`gp53{{Eye!|e-8iMNu{o@{hdLUwO0W*R5-jn!L!CS-E3Htsg)~OAbE{Cirm`HiuCEcWQ!ot}sVZ?Uv!;Hgn=X#4Z7?#k4KyvZOD{;WlQCV"
    "gIjJ)-La_C*4ll#1i!BkZhN#!9VW{u3Rx07O*ee$*9jpnt2rRauc(B+s!?n{j0kLB>#kSWs4W-5{m?%!M3oUf6{xL7EUogq8z%JFT%qhdF)TksbH"
    "7fcuFs5n&Q?N%cc_O77qNe7cGb*sH<0UmM937CZ*(_wO%qq;QAEgVGk*)(UW3Y%ZA2gY~#yBFxmBMvEKgLr%!^PM-q`3;a3oaeNmB0JG(!vVA$-E"
    "u50=1p2oGb|~GcI&A3p|}ZUO?bLjY8T*KCf~#L^YK)NH%^p"
)


def built_in_mixture() -> Mixture:
    """The weights, stored as float16."""
    numbers = np.frombuffer(base64.b85decode(_WEIGHTS), "<f2").astype(np.float32)
    sizes = (UNITS * N_FEATURES, UNITS * N_PLACE, UNITS, UNITS, USE_CLASSES)
    feature, place, bias, output, used = np.split(numbers, np.cumsum(sizes)[:-1])
    return Mixture(feature.reshape(UNITS, N_FEATURES), place.reshape(UNITS, N_PLACE), bias, output, used)
