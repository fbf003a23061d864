"""Classifiers and the tagger: PyTorch's results on the same weights, padding, dropout, and wrong arguments."""

import numpy as np
import pytest

from minilm import Workspace, devices, layers, models, optimizers
from minilm.models.tagger import Spelling
from minilm.random import Key

V, C, B, T = 13, 3, 4, 6
LENGTHS = np.array([6, 1, 4, 3])


def texts(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (B, T)), rng.integers(0, C, B)


def moved(model, seed=1):
    rng = np.random.default_rng(seed)
    for value in model.parameters.values():
        value[...] = 0.5 * rng.standard_normal(value.shape)
    return model


def build(kind, dtype=np.float64, **options):
    if kind is models.BERTClassifier:
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8}
        return kind(models.BERTConfig(vocab_size=V, **sizes), C, dtype=dtype, **options)
    sizes = {"embedding_size": 5} if kind is models.MeanClassifier else {"embedding_size": 5, "hidden_size": 4}
    return kind(V, C, dtype=dtype, **sizes, **options)


KINDS = (models.MeanClassifier, models.RecurrentClassifier, models.BERTClassifier)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_attention_as_in_torch(cell):
    torch = pytest.importorskip("torch")
    model = moved(build(models.RecurrentClassifier, cell=cell, num_layers=2, attention_size=3))
    ids, labels = texts()

    rnn = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](5, 4, 2, batch_first=True, bidirectional=True).double()
    ours = model.parameters
    with torch.no_grad():
        for name, parameter in rnn.named_parameters():
            parameter.copy_(torch.tensor(ours[f"recurrent.{name}"]))
    others = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in ours.items() if "recurrent" not in name}
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        others["embedding.weight"][torch.tensor(ids)], torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    h, _ = torch.nn.utils.rnn.pad_packed_sequence(rnn(packed)[0], batch_first=True)  # (B, T, 2H)
    u = torch.tanh(h @ others["pooling.key.weight"].T + others["pooling.query"]) @ others["pooling.score"]  # (B, T)
    beyond = torch.arange(T)[None] >= torch.tensor(LENGTHS)[:, None]
    a = torch.softmax(u.masked_fill(beyond, -torch.inf), dim=1)
    logits = (a[..., None] * h).sum(1) @ others["classifier.weight"].T + others["classifier.bias"]
    theirs = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    theirs.backward()

    loss, saved = model.forward(ids, labels, LENGTHS)
    model.parameters.zero_gradients()
    model.backward(saved)
    assert loss == pytest.approx(theirs.item(), abs=1e-12)
    np.testing.assert_allclose(model.logits(ids, LENGTHS), logits.detach(), atol=1e-12)
    np.testing.assert_allclose(model.attention(ids, LENGTHS), a.detach(), atol=1e-12)
    wanted = {f"recurrent.{name}": parameter.grad for name, parameter in rnn.named_parameters()}
    wanted |= {name: value.grad for name, value in others.items()}
    for name, gradient in ours.gradients.items():
        np.testing.assert_allclose(gradient, wanted[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    model = moved(build(kind))
    ids, labels = texts()
    padded = np.concatenate([ids, np.full((B, 2), 7)], axis=1)
    changed = np.where(np.arange(T + 2) < LENGTHS[:, None], padded, 3)
    whole = model.logits(ids, LENGTHS)
    np.testing.assert_allclose(model.logits(changed, LENGTHS), whole, atol=1e-12)
    for row in range(B):  # a text by itself
        np.testing.assert_allclose(model.logits(ids[row : row + 1, : LENGTHS[row]]), whole[row : row + 1], atol=1e-12)
    np.testing.assert_allclose(model.probabilities(ids, LENGTHS).sum(axis=1), 1)
    loss, _ = model.forward(ids, labels, LENGTHS)
    assert loss == pytest.approx(-np.log(model.probabilities(ids, LENGTHS)[np.arange(B), labels]).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_steps_reuse_their_memory_and_fit_the_texts(kind):
    more = {} if kind is models.BERTClassifier else {"word_dropout": 0.1}
    model = build(kind, np.float32, dropout=0.1, **more)
    ids, labels = texts()
    adam, workspace, losses = optimizers.Adam(model.parameters, lr=0.02), Workspace(), []
    for step in range(80):
        with workspace.step():
            loss, saved = model.forward(ids, labels, LENGTHS, key=Key(0, step))
            model.backward(saved)
        adam.step()
        losses.append(loss)
        if step == 40:
            held = workspace.nbytes
    assert losses[-1] < 0.3 * losses[0] and workspace.nbytes == held
    assert (model.logits(ids, LENGTHS).argmax(axis=1) == labels).all()


def test_ngrams():
    model = models.MeanClassifier(V, C, ngrams=3, buckets=1000)
    ids = np.array([[1, 2, 3, 1], [1, 2, 9, 9]])
    rows, mask = model.grams(ids, np.array([4, 2]))
    assert rows.shape == mask.shape == (2, 4 + 3 + 2)
    assert (rows[:, :4] == ids).all() and (rows[:, 4:] >= V).all() and (rows < V + 1000).all()
    assert rows[0, 4] == rows[1, 4]  # "1 2" is one gram wherever it stands
    assert len({*rows[0, 4:].tolist()}) == 5  # "2 3" is none of the others, nor is "1 2 3"
    assert mask[0].all() and mask[1].tolist() == [1, 1, 0, 0, 1, 0, 0, 0, 0]
    codes = model.grams(np.array([[a, b] for a in range(V) for b in range(V)]))[0][:, 2]
    assert len(set(codes.tolist())) > 145  # 169 pairs in 1,000 buckets: about 156 different ones are expected
    rows, _ = models.MeanClassifier(V, C, ngrams=5).grams(np.array([[1], [2]]))
    assert rows.shape == (2, 1)


def test_unknown_words_say_nothing():
    model = models.RecurrentClassifier(V, C, embedding_size=5, hidden_size=4, unk_id=2)
    assert not model.embedding.weight.value[2].any()
    loss, saved = model.forward(np.array([[2, 5]]), np.array([0]))
    model.backward(saved)
    gradient = model.embedding.weight.gradient
    assert not gradient[2].any() and gradient[5].any()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.array([[V]]), np.array([0])), r"ids\[0, 0\] is 13, wanted an id in \[0, 13\)"),
        ((np.array([[1]]), np.array([C])), r"labels\[0\] is 3"),
        ((np.array([1]), np.array([0])), r"ids must have shape \(B, T\)"),
        ((np.zeros((1, 0), int), np.array([0])), "at least one text and one id"),
        ((np.array([[1, 2]]), np.array([0]), np.array([3])), r"lengths\[0\] is 3"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_arguments(kind, arguments, says):
    with pytest.raises(ValueError, match=says):
        build(kind).forward(*arguments)


def test_wrong_settings():
    with pytest.raises(ValueError, match="'lstm', 'gru', got 'rnn'"):
        build(models.RecurrentClassifier, cell="rnn")
    with pytest.raises(ValueError, match="no attention to show"):
        build(models.RecurrentClassifier, pooling="mean").attention(*texts()[:1])
    with pytest.raises(ValueError, match="num_labels"):
        models.MeanClassifier(V, 0)
    with pytest.raises(ValueError, match="ngrams"):
        models.MeanClassifier(V, C, ngrams=0)


# --- a pretrained encoder --------------------------------------------------------------------------------------------


def test_from_pretrained_and_frozen(tmp_path):
    ids, labels = texts()
    source = moved(models.BERT(build(models.BERTClassifier).config, seed=2))
    source.embeddings.word_embeddings.weight.value[0] = 0
    source.save_pretrained(tmp_path)
    model = models.BERTClassifier.from_pretrained(tmp_path, C, frozen=True)
    whole = models.BERTClassifier.from_pretrained(tmp_path, C)
    hidden = source(ids, None, np.arange(T) < LENGTHS[:, None]).hidden
    mean = np.stack([hidden[b, : LENGTHS[b]].mean(axis=0) for b in range(B)])
    logits = mean @ model.classifier.weight.value.T + model.classifier.bias.value
    np.testing.assert_allclose(model.logits(ids, LENGTHS), logits, rtol=1e-4, atol=1e-4)
    first = models.BERTClassifier.from_pretrained(tmp_path, C, pooling="cls")
    wanted = hidden[:, 0] @ first.classifier.weight.value.T + first.classifier.bias.value
    np.testing.assert_allclose(first.logits(ids, LENGTHS), wanted, rtol=1e-4, atol=1e-4)

    assert whole.learned is whole and list(model.learned.parameters) == ["weight", "bias"]
    for each in (model, whole):
        each.parameters.zero_gradients()
        loss, saved = each.forward(ids, labels, LENGTHS, key=Key(0))
        each.backward(saved)
        moves = {name for name, gradient in each.parameters.gradients.items() if gradient.any()}
        assert (moves == {"classifier.weight", "classifier.bias"}) == each.frozen
    sure, _ = model.forward(ids, labels, LENGTHS)
    assert model.forward(ids, labels, LENGTHS, key=Key(1))[0] == sure  # nothing is dropped in what is not trained


# --- the tagger ------------------------------------------------------------------------------------------------------


def spelling(ids):
    rng = np.random.default_rng(9)
    return Spelling(rng.integers(0, 6, (5, 4)), np.array([4, 1, 3, 2, 4]), ids % 5)


def tagger(**options):
    return models.Tagger(V, C, **{"embedding_size": 5, "hidden_size": 4, "character_size": 3, "dtype": np.float64, **options})


@pytest.mark.parametrize("characters", [None, 6])
def test_tagger_is_its_parts(characters):
    model = moved(tagger(characters=characters))
    ids, _ = texts()
    tags = np.random.default_rng(3).integers(0, C, (B, T))
    given = (spelling(ids),) if characters else ()
    emissions = model.emissions(ids, LENGTHS, *given)
    nll, _ = model.crf.forward(emissions, tags, LENGTHS)
    assert model.forward(ids, tags, LENGTHS, *given)[0] == pytest.approx(nll.mean())
    best = model.decode(ids, LENGTHS, *given)
    assert ((best == -100) == (np.arange(T) >= LENGTHS[:, None])).all()
    least, _ = model.crf.forward(emissions, best, LENGTHS)
    assert (least <= nll + 1e-12).all()
    for row in range(B):
        alone = (Spelling(*given[0][:2], given[0].words[row : row + 1, : LENGTHS[row]]),) if characters else ()
        found = model.emissions(ids[row : row + 1, : LENGTHS[row]], None, *alone)
        np.testing.assert_allclose(found[0], emissions[row, : LENGTHS[row]], atol=1e-12)


def test_tagger_steps_reuse_their_memory_and_fit_the_sentences():
    model = tagger(characters=6, dtype=np.float32)
    ids, _ = texts()
    tags, spelled = np.random.default_rng(3).integers(0, C, (B, T)), spelling(ids)
    adam, workspace = optimizers.Adam(model.parameters, lr=0.03), Workspace()
    for step in range(100):
        with workspace.step():
            loss, saved = model.forward(ids, tags, LENGTHS, spelled, key=Key(0, step))
            model.backward(saved)
        adam.step()
        if step == 50:
            held = workspace.nbytes
    assert workspace.nbytes == held and loss < 0.5
    counted = np.arange(T) < LENGTHS[:, None]
    assert (model.decode(ids, LENGTHS, spelled) == tags)[counted].all()


def test_tagger_wrong_arguments():
    ids, _ = texts()
    with pytest.raises(ValueError, match="spelling must be given"):
        tagger(characters=6).emissions(ids)
    with pytest.raises(ValueError, match="without characters"):
        tagger().emissions(ids, None, spelling(ids))
    with pytest.raises(ValueError, match=r"spelling.words\[0, 0\] is 5, wanted an id in \[0, 5\)"):
        tagger(characters=6).emissions(ids, None, spelling(ids)._replace(words=np.full((B, T), 5)))
    with pytest.raises(ValueError, match="at least one sentence"):
        tagger().emissions(np.zeros((0, 3), int))


def test_the_oracle_gives_the_same():
    model, (ids, labels) = moved(build(models.RecurrentClassifier)), texts()
    fast = model.forward(ids, labels, LENGTHS)[0]
    with devices.implementation("oracle"):
        assert model.forward(ids, labels, LENGTHS)[0] == pytest.approx(fast, abs=1e-12)
    assert isinstance(model.pooling, layers.AttentionPooling)


# --- marks and classes -----------------------------------------------------------------------------------------------


def test_marks_are_one_more_vector_of_each_word():
    model = moved(tagger(marks=3, mark_size=2))
    ids, _ = texts()
    marks = ids % 3
    emissions = model.emissions(ids, LENGTHS, None, marks)
    assert np.abs(model.emissions(ids, LENGTHS, None, (marks + 1) % 3) - emissions).max() > 1e-3
    # a tagger of words whose vectors are [word; mark], by a table of all pairs
    wide = models.Tagger(3 * V, C, embedding_size=7, hidden_size=4, dtype=np.float64)
    for name, value in wide.parameters.items():
        value[...] = model.parameters.get(name, value) if name != "embedding.weight" else value
    pairs = np.repeat(model.embedding.weight.value, 3, axis=0), np.tile(model.mark_embedding.weight.value, (V, 1))
    wide.embedding.weight.value[...] = np.concatenate(pairs, axis=1)
    np.testing.assert_allclose(wide.emissions(3 * ids + marks, LENGTHS), emissions, atol=1e-12)
    with pytest.raises(ValueError, match="marks must be given"):
        model.emissions(ids)
    with pytest.raises(ValueError, match="marks were given to a model without"):
        tagger().emissions(ids, None, None, marks)
    with pytest.raises(ValueError, match=r"marks\[0, 0\] is 3"):
        model.emissions(ids, None, None, np.full(ids.shape, 3))


def intent_tagger(**options):
    sizes = {"embedding_size": 5, "hidden_size": 4, "character_size": 3, "dtype": np.float64}
    return models.IntentTagger(V, C, 2, **{**sizes, **options})


def test_intents_add_their_loss_to_the_tagger_s():
    model = moved(intent_tagger(characters=6))
    ids, tags = texts()[0], np.random.default_rng(3).integers(0, C, (B, T))
    classes, spelled = np.array([0, 1, 1, 0]), spelling(ids)
    p, best = model.read(ids, LENGTHS, spelled)
    np.testing.assert_array_equal(best, model.decode(ids, LENGTHS, spelled))
    emissions = model.emissions(ids, LENGTHS, spelled)
    alone = model.crf.forward(emissions, tags, LENGTHS)[0].mean()
    loss, _ = model.forward(ids, tags, classes, LENGTHS, spelled)
    assert loss == pytest.approx(alone - np.log(p[np.arange(B), classes]).mean())
    changed = np.where(np.arange(T) < LENGTHS[:, None], ids, 3)
    np.testing.assert_allclose(model.read(changed, LENGTHS, spelled)[0], p, atol=1e-12)  # padding says nothing
    with pytest.raises(ValueError, match=r"classes\[1\] is 2"):
        model.forward(ids, tags, np.array([0, 2, 0, 0]), LENGTHS, spelled)


def test_intent_tagger_fits_and_its_memory_stays():
    model = intent_tagger(characters=6, dtype=np.float32)
    ids, tags = texts()[0], np.random.default_rng(3).integers(0, C, (B, T))
    classes, spelled = np.array([0, 1, 1, 0]), spelling(ids)
    adam, workspace = optimizers.Adam(model.parameters, lr=0.03), Workspace()
    for step in range(100):
        with workspace.step():
            loss, saved = model.forward(ids, tags, classes, LENGTHS, spelled, key=Key(0, step))
            model.backward(saved)
        adam.step()
        if step == 50:
            held = workspace.nbytes
    assert workspace.nbytes == held and loss < 0.5
    assert (model.read(ids, LENGTHS, spelled)[0].argmax(axis=1) == classes).all()
