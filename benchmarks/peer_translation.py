"""Encoder-decoders in PyTorch: torch.nn.Transformer, and torch.nn.LSTM with Bahdanau's attention over all steps at once; and a
Transformer in CTranslate2, which writes targets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.peer_ops import quickest


def transformer(torch, config, weights: dict):
    """torch.nn.Transformer with the numbers of a `minilm.models.Transformer`, and what maps (source, inputs) to logits."""
    from minilm.layers.positions import sinusoids

    D = config.d_model
    sizes = (D, config.num_heads, config.encoder_layers, config.decoder_layers, config.hidden_dim)
    core = torch.nn.Transformer(*sizes, dropout=0.0, activation="relu", batch_first=True, norm_first=True)
    names = {f"{side}.norm.{kind}": f"{side}_norm.{kind}" for side in ("encoder", "decoder") for kind in ("weight", "bias")}
    parts = {"linear1": "mlp.c_fc", "linear2": "mlp.c_proj", "self_attn.out_proj": "attn.c_proj", "norm1": "ln_1"}
    parts["multihead_attn.out_proj"] = "crossattention.c_proj"
    with torch.no_grad():
        for name, parameter in core.named_parameters():
            if ".layers." not in name:
                value = weights[names[name]]
            else:
                side, _, number, rest = name.split(".", 3)
                prefix, (part, _, kind) = f"{side}.{number}.", rest.rpartition(".")
                norms = {"norm2": "ln_2"} if side == "encoder" else {"norm2": "ln_cross_attn", "norm3": "ln_2"}
                if kind.startswith("in_proj_"):
                    kind = kind.removeprefix("in_proj_")
                    if part == "self_attn":
                        value = weights[f"{prefix}attn.c_attn.{kind}"]
                    else:
                        rows = [weights[f"{prefix}crossattention.{each}.{kind}"] for each in ("query", "key", "value")]
                        value = torch.cat([torch.from_numpy(row.copy()) for row in rows]).numpy()
                else:
                    value = weights[f"{prefix}{({**parts, **norms})[part]}.{kind}"]
            parameter.copy_(torch.from_numpy(value.copy()))
    tables = torch.nn.ModuleList(
        torch.nn.Embedding.from_pretrained(torch.from_numpy(weights[f"{side}_embedding.weight"].copy()), freeze=False)
        for side in ("source", "target")
    )
    places = torch.from_numpy(sinusoids(256, D)).float()

    def logits(source, inputs):
        x, y = (table(ids) * D**0.5 + places[: ids.shape[1]] for table, ids in zip(tables, (source, inputs), strict=True))
        mask = torch.nn.Transformer.generate_square_subsequent_mask(inputs.shape[1])
        h = core(x, y, tgt_mask=mask, tgt_is_causal=True)
        return torch.nn.functional.linear(h, tables[1].weight)

    return torch.nn.ModuleList([core, tables]), logits


def seq2seq(torch, config, weights: dict):
    """The LSTM encoder-decoder with the names and numbers of a `minilm.models.Seq2Seq`, and its map to logits."""
    nn, E, H = torch.nn, config.embedding_size, config.hidden_size

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.memory, self.v = nn.Linear(H, H), nn.Linear(H, H, bias=False), nn.Parameter(torch.zeros(H))

        def forward(self, query, memory, keys=None):
            keys = self.memory(memory) if keys is None else keys
            scores = torch.tanh(self.query(query)[:, :, None] + keys[:, None]) @ self.v  # (B, T, S)
            return scores.softmax(-1) @ memory

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.attention = nn.LSTM(E, H, batch_first=True), Attention()
            self.combine = nn.Linear(2 * H, H)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.source_embedding, self.target_embedding = nn.Embedding(config.vocab_size, E), nn.Embedding(config.outputs, E)
            self.encoder = nn.LSTM(E, H // 2, batch_first=True, bidirectional=True)
            self.decoder, self.output = Decoder(), nn.Linear(H, config.outputs)

        def read(self, source):
            memory, state = self.encoder(self.source_embedding(source))
            return memory, tuple(part.transpose(0, 1).reshape(1, len(source), H) for part in state)

        def write(self, inputs, state, memory, keys=None):
            y, state = self.decoder.recurrent(self.target_embedding(inputs), state)
            context = self.decoder.attention(y, memory, keys)
            return self.output(torch.tanh(self.decoder.combine(torch.cat([y, context], dim=-1)))), state

        def forward(self, source, inputs):
            memory, state = self.read(source)
            return self.write(inputs, state, memory)[0]

    model = Model()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    return model, model


def training_step(
    torch, config, weights: dict, batches: list, lr: float, clip_norm: float, prepare=lambda logits: logits
) -> Callable:
    """One step of training after another over `batches` of (source, inputs, targets); loss and norm of the gradients."""
    model, logits = {"transformer": transformer, "seq2seq": seq2seq}[config.model_type](torch, config, weights)
    parameters, logits = list(model.parameters()), prepare(logits)
    adam = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0, fused=True)
    tensors = [tuple(torch.from_numpy(part) for part in batch) for batch in batches]
    smoothing, count = config.label_smoothing, 0

    def step():
        nonlocal count
        source, inputs, targets = tensors[count % len(tensors)]
        adam.zero_grad(set_to_none=True)
        outputs = logits(source, inputs).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(outputs, targets.flatten(), label_smoothing=smoothing)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        adam.step()
        count += 1
        return loss.item(), norm.item()

    return step


def seq2seq_writer(torch, config, weights: dict, source: np.ndarray, tokens: int) -> Callable:
    """`tokens` of the target of each source (B, S), greedily, by `seq2seq`; attention's keys are made once."""
    model, ids = seq2seq(torch, config, weights)[0].eval(), torch.from_numpy(source)

    @torch.inference_mode()
    def run():
        memory, state = model.read(ids)
        keys, y = model.decoder.attention.memory(memory), torch.ones(len(ids), 1, dtype=torch.long)  # (B, S, H), (B, 1)
        written = []
        for _ in range(tokens):
            logits, state = model.write(y, state, memory, keys)
            y = logits.argmax(-1)  # (B, 1)
            written.append(y)
        return list(torch.cat(written, dim=1).numpy())

    return run


def writer(
    ctranslate2, config, weights: dict, source: np.ndarray, tokens: int, threads: int, kind: str, beams: int = 1
) -> Callable:
    """`tokens` of the target of each source (B, S), greedily or by a search of several beams.

    To `kind`, "float32" or "int8", weights are rounded when loaded.
    """
    names = [f"t{i}" for i in range(config.vocab_size)]
    spec = _specification(config, weights)
    for register in (spec.register_source_vocabulary, spec.register_target_vocabulary):
        register(names)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = names[1], names[2], names[0]
    spec.config.decoder_start_token = names[1]
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.validate()
    spec.optimize()
    sentences = [[names[id] for id in row] for row in source]

    def loaded(number: int) -> Callable:
        with tempfile.TemporaryDirectory() as folder:
            spec.save(folder)
            translator = ctranslate2.Translator(folder, device="cpu", compute_type=kind, intra_threads=number, inter_threads=1)

        def run():
            lengths = {"min_decoding_length": tokens, "max_decoding_length": tokens}
            results = translator.translate_batch(sentences, beam_size=beams, **lengths)
            if any(len(result.hypotheses[0]) != tokens for result in results):
                raise RuntimeError("CTranslate2 ended a target early")
            return [np.array([int(name[1:]) for name in result.hypotheses[0]]) for result in results]

        return run

    # Threads that wait asleep may take ten times as long as one: it stands with what serves it best.
    return quickest([loaded(number) for number in sorted({1, threads})])


def _specification(config, weights: dict):
    """CTranslate2's description of a `minilm.models.Transformer`."""
    from ctranslate2.specs import TransformerSpec

    from minilm.layers.positions import sinusoids

    spec = TransformerSpec.from_config((config.encoder_layers, config.decoder_layers), config.num_heads, pre_norm=True)
    places = sinusoids(256, config.d_model).astype(np.float32)

    def fill(part, names, kinds=("weight", "bias")):
        names = (names,) if isinstance(names, str) else names
        for kind, field in zip(("weight", "bias"), kinds, strict=True):
            setattr(part, field, np.concatenate([weights[f"{name}.{kind}"] for name in names]))

    norm = ("gamma", "beta")
    for side, stack, table in (("encoder", spec.encoder, "source"), ("decoder", spec.decoder, "target")):
        embeddings = stack.embeddings[0] if side == "encoder" else stack.embeddings
        embeddings.weight, stack.position_encodings.encodings = weights[f"{table}_embedding.weight"], places
        fill(stack.layer_norm, f"{side}_norm", norm)
        for number, layer in enumerate(stack.layer):
            own, cross = f"{side}.{number}", f"{side}.{number}.crossattention"
            fill(layer.self_attention.layer_norm, f"{own}.ln_1", norm)
            fill(layer.self_attention.linear[0], f"{own}.attn.c_attn")
            fill(layer.self_attention.linear[1], f"{own}.attn.c_proj")
            fill(layer.ffn.layer_norm, f"{own}.ln_2", norm)
            fill(layer.ffn.linear_0, f"{own}.mlp.c_fc")
            fill(layer.ffn.linear_1, f"{own}.mlp.c_proj")
            if side == "decoder":
                fill(layer.attention.layer_norm, f"{own}.ln_cross_attn", norm)
                fill(layer.attention.linear[0], f"{cross}.query")
                fill(layer.attention.linear[1], (f"{cross}.key", f"{cross}.value"))
                fill(layer.attention.linear[2], f"{cross}.c_proj")
    spec.decoder.projection.weight = weights["target_embedding.weight" if config.tied else "output.weight"]
    return spec
