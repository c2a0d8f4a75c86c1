import pytest
import torch

from freehold.training.attention import PrefixAttention


@pytest.mark.parametrize("prefix", [0, 4])
@pytest.mark.parametrize("window", [0, 3])
def test_outputs_and_gradients_equal_plain_attention(prefix: int, window: int) -> None:
    torch.manual_seed(0)
    rows, length, heads, kv, dim = 3, 5, 6, 2, 8

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.double, requires_grad=True)

    q, k, v = leaf(rows, length, heads, dim), leaf(rows, length, kv, dim), leaf(rows, length, kv, dim)
    shared_k, shared_v = leaf(prefix, kv, dim), leaf(prefix, kv, dim)
    keys = torch.cat([shared_k[None].expand(rows, -1, -1, -1), k], 1).transpose(1, 2)
    values = torch.cat([shared_v[None].expand(rows, -1, -1, -1), v], 1).transpose(1, 2)
    at, key = torch.arange(prefix, prefix + length)[:, None], torch.arange(prefix + length)[None]
    mask = (key <= at) & (key > at - window) if window else key <= at
    plain = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), keys, values, attn_mask=mask, scale=0.3, enable_gqa=True
    ).transpose(1, 2)
    ours = PrefixAttention.apply(q, k, v, shared_k, shared_v, 0.3, window)
    assert torch.allclose(ours, plain, atol=1e-12)
    upstream = torch.randn_like(plain)
    leaves = [q, k, v, shared_k, shared_v] if prefix else [q, k, v]
    for mine, wanted in zip(
        torch.autograd.grad(ours, leaves, upstream), torch.autograd.grad(plain, leaves, upstream), strict=True
    ):
        assert torch.allclose(mine, wanted, atol=1e-12)
