"""Every command that computes with a model, on folders in Hugging Face's layout; transformers is the judge where it is there."""

import json

import numpy as np
import pytest

from minilm import cli, generation, models, tokenizers
from minilm.interpret import explain
from minilm.tokenizers.bpe import alphabet
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

TEXT = "the cat sat on the mat. the dog sat, too. a cat and a dog ate the fish on the mat.\n" * 12
PAD = 20  # ids that the model has, and the tokenizer has not: the most probable ones by far
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
BERT["max_position_embeddings"] = 64


def shaken(model):
    """All parameters random: nothing that a model says is by its zeros."""
    rng = np.random.default_rng(2)
    for value in model.parameters.values():
        value += 0.3 * rng.standard_normal(value.shape).astype(value.dtype)
    return model


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    """A GPT whose vocabulary is larger than its tokenizer's, in a folder; the two."""
    folder = tmp_path_factory.mktemp("gpt")
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(TEXT, vocab_size=290)
    model = shaken(models.GPT(models.GPTConfig.gpt2(**GPT, vocab_size=tokenizer.vocab_size + PAD), seed=0))
    model.ln_f.bias.value[:] = 2
    model.wte.weight.value[tokenizer.vocab_size :] = 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, model, tokenizer


@pytest.fixture(scope="module")
def word_pieces():
    return tokenizers.WordPiece.train_from_chunks(TEXT, vocab_size=90)


def bert_folder(folder, tokenizer, kind="BERTForPreTraining", pad=0, **config):
    model = getattr(models, kind)(models.BERTConfig(**BERT, vocab_size=tokenizer.vocab_size + pad, **config), seed=0)
    shaken(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def bert(tmp_path_factory, word_pieces):
    folder = tmp_path_factory.mktemp("bert")
    model = bert_folder(folder, word_pieces, pad=PAD)
    model.cls.predictions.bias.value[word_pieces.vocab_size :] = 50
    model.save_pretrained(folder)
    return folder, model, word_pieces


def run(capsys, *argv):
    capsys.readouterr()  # what transformers said before
    status = cli.main([*map(str, argv)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


# --- ids without a token ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [["--seed", 1], ["--greedy"], ["--samples", 3], ["--json"], ["--beam", 3], ["--top-k", 5], ["--top-p", 0.3]],
    ids=str,
)
def test_ids_that_the_tokenizer_lacks_are_never_drawn(options, gpt, capsys):
    folder, model, tokenizer = gpt
    first = model.logits(tokenizer.encode("the")[None], last=True)[0]
    assert first.argmax() >= tokenizer.vocab_size  # the model would draw them at once
    status, out, err = run(capsys, "generate", folder, "--prompt", "the", "--tokens", 30, *options)
    assert status == 0 and len(out) > 15 and ("log probability" in err or not err)


@pytest.mark.parametrize(
    "options", [{"greedy": True}, {"seed": 1}, {"seed": 2, "top_k": 7, "top_p": 0.9, "suppress": [3]}], ids=str
)
def test_nor_on_a_gpu(options, gpt):
    _, model, tokenizer = gpt
    ids = tokenizer.encode("the cat")[None]
    wanted = np.stack(list(generation.stream_ids(model, ids, 12, vocab_size=tokenizer.vocab_size, **options)))
    assert wanted.max() < tokenizer.vocab_size
    with gpu.emulated():
        try:
            model.to("cuda")
            for graphs in (False, True):
                options = {**options, "cuda_graphs": graphs}
                found = np.stack(list(generation.stream_ids(model, ids, 12, vocab_size=tokenizer.vocab_size, **options)))
                assert np.array_equal(found, wanted)
            assert fake_cupy.waits
            beams = generation.beam_search(model, ids[0], 4, 2, vocab_size=tokenizer.vocab_size)
        finally:
            model.to("cpu")
    for found, each in zip(beams, generation.beam_search(model, ids[0], 4, 2, vocab_size=tokenizer.vocab_size), strict=True):
        assert found.ids.max() < tokenizer.vocab_size and np.array_equal(found.ids, each.ids)


def test_a_beam_search_draws_no_suppressed_token(gpt, capsys):
    _, model, tokenizer = gpt
    prompt = tokenizer.encode("the")
    plain = generation.beam_search(model, prompt, 5, 3, vocab_size=tokenizer.vocab_size)
    without = generation.beam_search(model, prompt, 5, 3, vocab_size=tokenizer.vocab_size, suppress=plain[0].ids)
    assert not np.isin([h.ids for h in without], plain[0].ids).any()


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_nor_named_in_explanations(kind, request, tmp_path, capsys):
    folder, model, tokenizer = request.getfixturevalue(kind)
    found = explain(model, tokenizer, "the cat sat", top=500, neighbours=500, steps=2)
    named = [found.surprisal.top_ids, found.lens.top_ids, [[id for id, _ in near] for near in found.neighbours.values()]]
    assert all(np.max(ids) < tokenizer.vocab_size for ids in named)
    assert found.surprisal.top_ids.shape[1] == tokenizer.vocab_size
    assert found.integrated_gradients.targets.max() < tokenizer.vocab_size
    assert found.surprisal.rank.max() <= tokenizer.vocab_size
    status, out, err = run(capsys, "explain", folder, "--text", "the cat sat", "--out", tmp_path / "page.html", "--steps", 2)
    assert (status, err) == (0, "") and "predicted" in out


def test_nor_put_in_the_place_of_a_mask(bert, capsys):
    folder, _, tokenizer = bert
    status, out, err = run(capsys, "fill-mask", folder, "--text", "the [MASK] sat", "--json", "--top", 500)
    (found,) = json.loads(out)["masks"]
    assert (status, err) == (0, "") and sorted(each["id"] for each in found) == list(range(tokenizer.vocab_size))


def test_a_mask_may_be_the_last_token(tmp_path):
    tokenizer = tokenizers.WordPiece(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "b", "[MASK]"])
    model = models.BERTForPreTraining(models.BERTConfig(**BERT, vocab_size=7), seed=0)
    assert len(explain(model, tokenizer, "a b", steps=2).surprisal.places) == 2


# --- where a text ends -----------------------------------------------------------------------------------------------


def test_a_text_ends_where_its_folder_says(gpt, tmp_path, capsys):
    """One id or several, of sampled, greedy and searched texts; each of many by itself."""
    _, model, tokenizer = gpt
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    options = ["--prompt", "the", "--tokens", 20, "--greedy"]
    V, prompt = tokenizer.vocab_size, tokenizer.encode("the")[None]
    ids = [int(id[0]) for id in generation.stream_ids(model, prompt, 20, greedy=True, vocab_size=V)]
    whole = tokenizer.decode(ids)
    for ends in (ids[6], [ids[6], ids[9]], [100000]):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
        several = ends if isinstance(ends, list) else [ends]
        stop = next((n for n, id in enumerate(ids) if id in several), len(ids))
        assert run(capsys, "generate", tmp_path, *options)[1] == f"the{tokenizer.decode(ids[:stop])}\n"
        assert run(capsys, "generate", "--weights", tmp_path, *options, "--ignore-eos")[1] == f"the{whole}\n"
        found = json.loads(run(capsys, "generate", tmp_path, *options, "--json", "--samples", 2)[1])
        assert found["texts"] == [tokenizer.decode(ids[:stop])] * 2 and found["end"] == several
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(0, V, 2))}))
    found = json.loads(run(capsys, "generate", tmp_path, "--prompt", "the", "--samples", 8, "--json", "--tokens", 60)[1])["texts"]
    assert len({len(text) for text in found}) > 1 and max(map(len, found)) < 60
    status, out, _ = run(capsys, "generate", tmp_path, "--prompt", "the", "--beam", 3, "--tokens", 30, "--length-penalty", 1)
    assert status == 0 and len(out) < 120
    assert len(run(capsys, "generate", tmp_path, "--prompt", "the", "--beam", 3, "--tokens", 30, "--ignore-eos")[1]) >= 30


def test_nothing_is_lost_or_added_where_a_text_ends():
    """Text that is held back, since a stop string may begin with it, belongs to it; after a stop string nothing does."""
    letters = alphabet.characters()
    vocabulary, both = ["<|endoftext|>", *letters], "a" + letters[0xC3]  # "a" and the first byte of "é" in one token
    tokenizer = tokenizers.ByteLevelBPE([*vocabulary, both], [("a", letters[0xC3])])
    prompt, eos, a = tokenizer.encode("x"), 0, tokenizer.token_to_id("a")
    text = generation.text.Continuation(tokenizer, "x", prompt, ("ab",), (eos,))
    assert text.feed(a) == "" and text.feed(eos) == "a" and text.ended and text.flush() == ""
    text = generation.text.Continuation(tokenizer, "x", prompt, ("a",), (eos,))
    assert text.feed(tokenizer.token_to_id(both)) == "" and text.ended and text.flush() == ""  # not U+FFFD


# --- commands --------------------------------------------------------------------------------------------------------


def test_evaluate(gpt, bert, tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(TEXT)
    folder, model, tokenizer = gpt
    for words in ([folder], ["--weights", folder]):
        status, out, err = run(capsys, "evaluate", *words, "--corpus", corpus, "--json")
        assert (status, err) == (0, "")
    ids = tokenizer.encode(TEXT).astype(np.int64)
    windows = [ids[start : start + 65] for start in range(0, len(ids) - 1, 64)]
    total = sum(float(model.loss(each[None, :-1], each[None, 1:])) * (len(each) - 1) for each in windows)
    assert json.loads(out)["loss"] == pytest.approx(total / (len(ids) - 1), rel=1e-4)
    status, out, _ = run(capsys, "evaluate", bert[0], "--corpus", corpus)
    assert status == 0 and "of them guessed" in out and "next sentences" in out
    status, _, err = run(capsys, "evaluate", folder)
    assert status == 2 and "does not say what text its model was trained on: --corpus" in err


def test_a_folder_without_what_a_command_needs(gpt, bert, word_pieces, tmp_path, capsys):
    bert_folder(tmp_path / "body", word_pieces, "BERT")
    for words in (["fill-mask", tmp_path / "body", "--text", "a [MASK]"], ["try", tmp_path / "body", "a"]):
        status, _, err = run(capsys, *words)
        assert status == 2 and "holds a BertModel, which predicts no tokens" in err and err.count("\n") == 1
    for words, says in (
        (["fill-mask", gpt[0], "--text", "a [MASK]"], "fill-mask needs a model of masked tokens"),
        (["generate", bert[0]], "a BERTForPreTraining does not write"),
        (["generate", "gpt2-of-nobody"], "Hugging Face Hub"),
        (["chat", "gpt2-of-nobody"], "there is no folder gpt2-of-nobody"),
        (["chat", "/no/such"], "there is no folder /no/such"),
        (["chat", "/no/such.gguf"], "there is no file /no/such.gguf"),
        (["generate", "/no/such.gguf"], "there is no file /no/such.gguf"),
        (["chat", gpt[0]], "has no chat template"),
        (["generate", gpt[0] / "config.json"], "is a file, and wanted is a folder"),
        (["generate", "--weights", gpt[0], gpt[0]], "wanted either DIR or --weights FOLDER"),
        (["evaluate"], "wanted either DIR or --weights FOLDER"),
        (["fill-mask", "--text", "a"], "wanted either DIR or --weights FOLDER"),
        (["try"], "wanted either DIR or --weights FOLDER"),
    ):
        status, _, err = run(capsys, *words)
        assert status == 2 and says in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [["generate"], ["try"], ["evaluate"], ["explain", "--text", "a"], ["fill-mask", "--text", "a"]],
    ids=lambda words: words[0],
)
def test_folders_that_hold_something_else(command, gpt, tmp_path, capsys):
    for files, says in (
        (["ckpt.pt"], "ckpt.pt is another format: `minilm convert` reads some"),
        (["adapter_config.json", "adapter_model.safetensors"], "of an adapter (LoRA)"),
        (["config.json"], "config.json: not valid JSON"),
        ([], "there is no"),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name in files:
            (folder / name).touch()
        status, _, err = run(capsys, *command, folder)
        assert status == 2 and says in err and err.count("\n") == 1
    gpt[1].save_pretrained(tmp_path / "alone")
    status, _, err = run(capsys, *command, tmp_path / "alone")
    assert status == 2 and "holds no tokenizer" in err and err.count("\n") == 1


def test_a_guesser_of_masked_tokens_alone(bert, tmp_path, capsys):
    """Without the pooler and the judge of next sentences, of which then nothing is said."""
    transformers = pytest.importorskip("transformers")
    folder, model, tokenizer = bert
    transformers.BertForMaskedLM.from_pretrained(folder).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "corpus.txt").write_text(TEXT)
    status, out, err = run(capsys, "evaluate", tmp_path, "--corpus", tmp_path / "corpus.txt")
    assert (status, err) == (0, "") and "guessed" in out and "next" not in out
    assert run(capsys, "fill-mask", "--weights", tmp_path, "--text", "the [MASK]")[::2] == (0, "")
