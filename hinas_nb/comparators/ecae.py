"""E-CAE (Suganuma et al., "Exploiting the potential of standard convolutional autoencoders for image restoration by
evolutionary search", ICML 2018): the denoiser that evolution found.

Seven convolutions, the same seven in reverse order, and one to the picture, without a residual. ReLU follows all but
the last. To three of the mirrored ones the output of their counterpart is added. No layer changes the picture's size.

1,062,016 parameters, as the model that its authors distribute has; `comparators.TABLE` says what table 10 counts.
As in the code: the architecture is that of the file beside the trained grey model; there are no biases and no batch
norms, which the code has switched off. A deconvolution of stride 1 is a convolution with the kernel turned round, and
is built as one. Chosen here: first weights are torch's.
"""

from itertools import pairwise

from torch import nn
from torch.nn.functional import relu

from hinas_nb.comparators.base import Grey, Restorer
from hinas_nb.comparators.layers import conv

#: Of the encoder, from the picture on: width over 64, side of the kernel, whether its output is added to its mirror's.
GENES = ((1, 3, True), (1, 1, False), (2, 3, False), (1, 1, True), (2, 5, True), (2, 3, False), (1, 1, False))


class ECAE(Restorer):
    """Restores f(noisy), one grey channel; the wide layers have twice `width` channels."""

    halo = 1 + 2 * sum(kernel // 2 for _, kernel, _ in GENES)

    def __init__(self, width: int = 64):
        super().__init__()
        genes = (*GENES, *reversed(GENES))
        channels = [1, *(factor * width for factor, *_ in genes)]
        layers = [conv(*ends, kernel, bias=False) for ends, (_, kernel, _) in zip(pairwise(channels), genes)]
        self.encoder, self.decoder = nn.ModuleList(layers[: len(GENES)]), nn.ModuleList(layers[len(GENES) :])
        self.output = conv(width, 1, bias=False)

    def forward(self, noisy: Grey) -> Grey:
        x, kept = noisy, []
        for layer in self.encoder:
            x = relu(layer(x))
            kept.append(x)
        for layer, (*_, added) in zip(self.decoder, reversed(GENES)):
            beside = kept.pop()
            x = relu(layer(x)) + beside if added else relu(layer(x))
        return self.output(x)
