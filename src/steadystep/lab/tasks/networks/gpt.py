"""A small decoder-only transformer."""

import torch
from torch import nn
from torch.nn import functional


class GPT(nn.Module):
    """Learned positions, pre-norm blocks of causal attention and an MLP, a last norm, and a head tied to the embedding.

    (batch, length) int64, with a length of at most `context` -> (batch, length, vocabulary). Weights are initialised
    from a normal distribution with standard deviation 0.02, or 0.02 / √(2 layers) for the projections into the residual
    stream, and biases with 0.

    Args:
        vocabulary: The number of tokens.
        context: The maximum length of a text.
        width: The width of the residual stream; a multiple of `heads`. Default 128.
        heads: The number of heads of every attention layer. Default 4.
        layers: The number of blocks. Default 4.
        dropout: The dropout probability after the embeddings, on attention weights and on the outputs of attention and
            MLP. Default 0.

    Raises:
        ValueError: If the width is not a multiple of the heads.

    Source: Radford et al., Language models are unsupervised multitask learners (2019), section 2.3.

    >>> GPT(vocabulary=65, context=64)(torch.zeros(2, 10, dtype=torch.int64)).shape
    torch.Size([2, 10, 65])
    """

    def __init__(
        self, vocabulary: int, context: int, width: int = 128, heads: int = 4, layers: int = 4, dropout: float = 0.0
    ) -> None:
        if width % heads:
            raise ValueError(f"the width must be a multiple of the heads, got {width} and {heads}")
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        self._initialise(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next tokens."""
        positions = self.positions(torch.arange(x.shape[-1], device=x.device))
        return self.head(self.norm(self.blocks(self.dropout(self.embedding(x) + positions))))

    def _initialise(self, layers: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Linear) and module is not self.head:
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for block in self.blocks:
            assert isinstance(block, Block)
            for projection in (block.attention.out, block.narrow):
                nn.init.normal_(projection.weight, std=0.02 / (2 * layers) ** 0.5)


class Block(nn.Module):
    """A residual block, x + attention(norm(x)) and then x + MLP(norm(x)): (batch, length, width) -> the same shape."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual stream after the block."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.narrow(functional.gelu(self.widen(self.mlp_norm(x)))))


class CausalAttention(nn.Module):
    """Multi-head attention with a causal mask: (batch, length, width) -> the same shape."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the projected outputs of all heads."""
        # (batch, length, 3 width) -> three of (batch, heads, length, width / heads)
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in self.project(x).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, is_causal=True)
        return self.out(mixed.transpose(-3, -2).flatten(-2))
