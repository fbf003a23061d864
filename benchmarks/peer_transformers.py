"""A GPT in PyTorch, as nanoGPT writes one: fused projections, scaled_dot_product_attention, the fused AdamW."""

from __future__ import annotations

from collections.abc import Callable


def gpt(torch, config, weights: dict):
    """The model with minilm's names and numbers of parameters; `config` is a `minilm.models.GPTConfig`."""
    nn, D, H = torch.nn, config.n_embd, config.n_head

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn, self.c_proj = nn.Linear(D, 3 * D), nn.Linear(D, D)

        def forward(self, x):
            B, T, _ = x.shape
            q, k, v = (part.view(B, T, H, D // H).transpose(1, 2) for part in self.c_attn(x).split(D, dim=2))  # (B, H, T, K)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.c_proj(y.transpose(1, 2).reshape(B, T, D))

    class FeedForward(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_fc, self.c_proj = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

        def forward(self, x):
            return self.c_proj(nn.functional.gelu(self.c_fc(x), approximate="tanh"))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(D), Attention(), nn.LayerNorm(D), FeedForward()

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(config.vocab_size, D), nn.Embedding(config.n_positions, D)
            self.h = nn.ModuleList(Block() for _ in range(config.n_layer))
            self.ln_f = nn.LayerNorm(D)

        def forward(self, ids):
            x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
            for block in self.h:
                x = block(x)
            return nn.functional.linear(self.ln_f(x), self.wte.weight)

    model = GPT()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    return model


def training_step(
    torch, config, weights: dict, batches: list, lr: float, clip_norm: float, weight_decay: float, prepare=lambda model: model
) -> Callable:
    """One step of training after another over `batches` of (ids, targets), (B, T) each; loss and norm of the gradients."""
    model = gpt(torch, config, weights)
    parameters, call = list(model.parameters()), prepare(model)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=lr, fused=True)
    tensors = [tuple(torch.from_numpy(part) for part in batch) for batch in batches]
    count = 0

    def step():
        nonlocal count
        ids, targets = tensors[count % len(tensors)]
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(call(ids).flatten(0, 1), targets.flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        adam.step()
        count += 1
        return loss.item(), norm.item()

    return step


def decoder(torch, config, weights: dict, prompt, tokens: int, device: str) -> Callable:
    """`tokens` of every text after a prompt (B, T), each the most probable one: keys and values kept, in arrays made once."""
    model = gpt(torch, config, weights).to(device).eval()
    (B, T), D, H = prompt.shape, config.n_embd, config.n_head
    shape = (config.n_layer, 2, B, H, T + tokens, D // H)

    def read(ids, cache, start):
        stop = start + ids.shape[1]
        x = model.wte(ids) + model.wpe.weight[start:stop]
        for block, kept in zip(model.h, cache, strict=True):
            parts = block.attn.c_attn(block.ln_1(x)).split(D, dim=2)
            q, k, v = (part.view(B, stop - start, H, D // H).transpose(1, 2) for part in parts)  # (B, H, T, K)
            kept[0, :, :, start:stop], kept[1, :, :, start:stop] = k, v
            keys, values = kept[:, :, :, :stop]
            y = torch.nn.functional.scaled_dot_product_attention(q, keys, values, is_causal=stop - start > 1)
            x = x + block.attn.c_proj(y.transpose(1, 2).reshape(B, stop - start, D))
            x = x + block.mlp(block.ln_2(x))
        return torch.nn.functional.linear(model.ln_f(x[:, -1]), model.wte.weight).argmax(-1)[:, None]

    @torch.inference_mode()
    def run():
        ids, cache, drawn, start = torch.from_numpy(prompt).to(device), torch.empty(shape, device=device), [], 0
        for _ in range(tokens):
            ids, start = read(ids, cache, start), start + ids.shape[1]
            drawn.append(ids)
        return torch.cat(drawn, 1).cpu().numpy()  # (B, tokens)

    return run


def generation(transformers, torch, config, weights: dict, tokens: int) -> Callable:
    """The most probable token after another for one text, with transformers' cache; the logits of the last one."""
    sizes = {name: getattr(config, name) for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    transposed = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # Conv1D's
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = weights[name.removeprefix("transformer.")]
            parameter.copy_(torch.from_numpy(value.T.copy() if name.endswith(transposed) else value))

    @torch.inference_mode()
    def run():
        ids, past = torch.zeros(1, 1, dtype=torch.long), None
        for _ in range(tokens):
            output = model(ids, past_key_values=past, use_cache=True)
            ids, past = output.logits[:, -1:].argmax(-1), output.past_key_values
        return output.logits[:, -1]

    return run
