"""From a trained net to a file a microcontroller tool takes: ONNX, model card, int8; needs no training code."""
