"""Judge trained runs beside rivals: prediction against copies, VAR(5) and a GRU of the same size; rate against the Gaussian line;
what a linear probe reads from the states; what is in the latent space, and what of it survives noise; gaps that are filled; words in noise;
Fréchet distances at several numbers of vectors.

    python experiments/judge.py --dataset speech.h5 --runs runs/beta_0.3 runs/beta_1 runs/beta_3 --output-dir runs/judged
    python experiments/judge.py --parts codecs --clips clean/clips --max-clips 60 --dataset speech.h5 --runs runs/a --output-dir runs/judged
    python experiments/judge.py --parts probes --digits digits.h5 --labels digits/labels.tsv --dataset speech.h5 --runs runs/a runs/b --output-dir runs/judged
    python experiments/judge.py --parts latents --latents-file runs/latents.json --dataset speech.h5 --runs runs/a --clips clean/clips --table clean/validated.tsv \\
        --digits digits.h5 --labels digits/labels.tsv --digit-clips digits/recordings --gru runs/judged/rivals/gru.pt --output-dir runs/judged
    python experiments/judge.py --parts completion words fad --clips clean/clips --max-clips 60 --dataset speech.h5 --runs runs/a --output-dir runs/judged

The runs must share the data set and the split. The rivals are trained once, on the training speakers, and kept in
OUTPUT/rivals; they are trained again when the data, the split, the size or the schedule is another. Written: forecasts.json,
rates.json, latents.json, probes.json, codecs.json, completion.json, words_in_noise.json, fad.json, forecasts.png, rates.png, codecs.png, completion.png,
words_in_noise.png, fad.png; the part `latents` writes its file and, beside it, figures. Gaps are filled by the first run.
Nothing is sampled from training speakers, but babble is made of their clips, and one of the two probes of gender is asked of them as well.
"""

import argparse, json, os, sys, time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from spectro_dreamer.judge.codecs import CODEC2_MODES, codec2, copy_synthesis, format_codecs, judge_codecs, opus, plot_codecs, world_codec
from spectro_dreamer.dream.completion import GapsInSound, bend, format_gaps, gap_errors, janssen, near_side, plot_gaps, var_gap
from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.data.dataset import Batches
from spectro_dreamer.judge.evaluation import open_split, pick_clips
from spectro_dreamer.figures import figure_style
from spectro_dreamer.sound.sound_sets import WINDOW, enough_vectors, fad_by_size
from spectro_dreamer.data.preparation import clip_file
from spectro_dreamer.data.preprocessing import log_mel, read_audio
from spectro_dreamer.judge.forecasts import (BandClips, GRUForecaster, VAR, check_same, compare_forecasts, fit_gru, fit_var, format_forecasts,
                                    L2S, digit_probe, format_probes, format_rates, latent_use, linear_probe, open_short, plot_forecasts, plot_rates, rate_distortion, rate_line, speaker_probe)
from spectro_dreamer.judge.latents import (clip_vectors, collect_latents, column_of, few_labels, format_words, in_noise, noisy, pca, phone_like, picture, plot_noise, plot_smoothness, plot_use,
                                     plot_words, readers, separation, smoothness, untrained, voices_at, ways_to_hear, words_in_noise)
from spectro_dreamer.judge.token_vae import Blue, Held, TokenVAE, bound, fit_vae, vae_rate
from spectro_dreamer.sound.vocoder import vocode
from spectro_dreamer.model.world_model import load


def named(paths):
    """The models of the runs, each by the shortest end of its path that tells it from the others."""
    paths = [Path(p).resolve() for p in paths]
    for depth in range(1, 1 + max(len(p.parts) for p in paths)):
        names = ["/".join(p.parts[-depth:]) for p in paths]
        if len(set(names)) == len(names): return {n: load(p) for n, p in zip(names, paths)}
    raise SpectroError("the same run is named twice")


def kept(path, key, make, read):
    """What `make` returned as (state, remark) for this key, now or in an earlier call; said on the console which."""
    if path.is_file():
        try: saved = torch.load(path, weights_only=True)
        except Exception: saved = {}
        if saved.get("key") == key:
            print(f"{path.name}: kept from an earlier call")
            return read(saved["state"]), saved["remark"]
    start = time.time()
    state, remark = make()
    remark |= dict(seconds=round(time.time() - start, 1))
    part = path.with_name(f"{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(key=key, state=state, remark=remark), part)
    os.replace(part, path)
    print(f"{path.name}: {remark['seconds']:.0f} s")
    return read(state), remark


def read_gru(s):
    """The network of a kept state."""
    model = GRUForecaster(*s["shape"])
    model.load_state_dict(s["weights"])
    return model.eval()


def kept_gru(path, data, train):
    """A GRU that an earlier call trained on the same speakers of the same data, or nothing if no file is named."""
    if not path: return None
    try: saved = torch.load(path, weights_only=True)
    except Exception: raise SpectroError(f"{path} is not a kept GRU") from None
    key, mine = saved.get("key", {}), dict(fingerprint=data.fingerprint, val_split=train.val_split, split_seed=train.split_seed, tokens=asdict(data.tokens))
    if any(key.get(k) != v for k, v in mine.items()):
        raise SpectroError(f"the GRU in {path} was trained on other data, or another split of them")
    return read_gru(saved["state"])


def epochs_told(name):
    """Wraps the epochs of a rival: a line on the console for each."""
    def show(epochs):
        start = time.time()
        for k in epochs:
            yield k
            print(f"  {name}: epoch {k + 1} of {len(epochs)}, {time.time() - start:.0f} s", flush=True)
    return show


def rivals(models, data, folder, steps):
    """VAR(5) and the GRU, with what is to be said of each.

    The GRU has the first run's schedule, and its size without reward heads.
    """
    first = next(iter(models.values()))
    t, tokens = first.config.train, asdict(data.tokens)
    key = dict(fingerprint=data.fingerprint, val_split=t.val_split, split_seed=t.split_seed, tokens=tokens)
    var, about_var = autoregression(data, key, folder)

    batches = Batches(data, data.train, t.batch_size, t.sequence_length, seed=0)
    run_steps, size = t.epochs * len(batches), sum(p.numel() for p in first.world())
    steps = min(steps or run_steps, run_steps)
    schedule = dict(steps=steps, n_parameters=size, batch_size=t.batch_size, sequence_length=t.sequence_length, lr=t.lr, grad_clip=t.grad_clip,
                    warmup_steps=t.warmup_steps, lr_decay=t.lr_decay)

    def make_gru():
        print(f"GRU: {steps} steps of {t.batch_size} sequences of {t.sequence_length} tokens; the first run's "
              f"schedule has {run_steps}", flush=True)
        model, said = fit_gru(data, t, size, steps, epochs_told("GRU"))
        return dict(shape=list(model.shape), weights=model.state_dict()), said | dict(run_steps=run_steps, n_parameters=sum(p.numel() for p in model.parameters()))

    gru, about_gru = kept(folder / "gru.pt", key | schedule, make_gru, read_gru)
    vae, about_vae = memoryless(models, data, folder)
    return {"VAR(5)": var, "GRU": gru} | ({"VAE, last latent held": Held(vae), "VAE, out of the blue": Blue(vae)} if vae else {}), {"VAR(5)": about_var, "GRU": about_gru, "VAE": about_vae}


def autoregression(data, key, folder):
    """VAR(5), and what is to be said of it."""
    def make():
        model, errors = fit_var(BandClips(data, data.train))
        return model.state(), dict(one_step_mse={str(k): v for k, v in errors.items()}, ridge=min(errors, key=errors.get))
    return kept(folder / "var.pt", key | dict(order=5), make, lambda s: VAR(**s))


def memoryless(models, data, folder):
    """The VAE of single tokens, with the first run's whole schedule, and what is to be said of it; None if the first
    run has classes.
    """
    first = next(iter(models.values()))
    t, m, size = first.config.train, first.config.model, sum(p.numel() for p in first.world())
    if m.latent != "gaussian": return None, "left out: the first run's latent is not Gaussian"
    steps = t.epochs * len(Batches(data, data.train, t.batch_size, t.sequence_length, seed=0))
    key = dict(fingerprint=data.fingerprint, val_split=t.val_split, split_seed=t.split_seed, tokens=asdict(data.tokens), steps=steps, n_parameters=size, train=asdict(t), model=asdict(m))

    def make():
        vae, said = fit_vae(data, first.config, size, steps, epochs_told("VAE"))
        return dict(hidden=vae.config.hidden_size, weights=vae.state_dict()), said | dict(n_parameters=sum(p.numel() for p in vae.parameters()))

    def read(s):
        vae = TokenVAE(replace(m, hidden_size=s["hidden"]))
        vae.load_state_dict(s["weights"])
        return vae.eval()

    return kept(folder / "vae.pt", key, make, read)


def bar(what, of="clips"):
    """Wraps the clips, or whatever there are many of: a line on the console now and then."""
    def show(clips):
        clips, start, told = list(clips), time.time(), time.time()
        for k, c in enumerate(clips):
            yield c
            if time.time() - told > 30:
                told = time.time()
                print(f"  {what}: {k + 1} of {len(clips)} {of}, {told - start:.0f} s", flush=True)
    return show


def judge(a):
    """Everything; what is slow is said."""
    models = named(a.runs)
    split = {(m.config.train.val_split, m.config.train.split_seed) for m in models.values()}
    if len(split) > 1:
        raise SpectroError(f"the runs split their speakers differently (val_split, split_seed: {sorted(split)}): "
                           "judge them apart")
    data, clips = open_split(next(iter(models.values())), a.dataset)
    check_same(models, data)
    own = data.statistics
    if not torch.allclose(own.mean, data.mean, atol=1e-3):
        raise SpectroError(f"{a.dataset} is not what {next(iter(models))} was trained on: its training speakers have "
                           "other band means, and rivals cannot be trained on them")
    if a.max_clips: clips = clips[:: max(1, -(-len(clips) // a.max_clips))]
    out = Path(a.output_dir)
    out.mkdir(parents=True, exist_ok=True)
    speakers = len({data.speakers[i] for i in clips})
    about = dict(dataset=Path(a.dataset).name, data_fingerprint=data.fingerprint, val_split=list(split)[0][0], split_seed=list(split)[0][1], n_clips=len(clips), n_speakers=speakers,
                 seconds=float(data.lengths[clips].sum() / data.front_end.frame_rate), n_parameters={n: sum(p.numel() for p in m.world()) for n, m in models.items()})
    print(f"{len(clips)} clips of {speakers} speakers not trained on, {about['seconds']:.0f} s")
    if "rates" in a.parts: rates(models, data, clips, about, out)
    if "forecasts" in a.parts: forecasts(models, data, clips, about, out, a)
    if "codecs" in a.parts: codecs(models, data, clips, about, out, a)
    if "probes" in a.parts: probes(models, data, clips, about, out, a)
    if "latents" in a.parts: latents(models, data, clips, about, Path(a.latents_file), a)
    if "completion" in a.parts: completion(models, data, clips, about, out, a)
    if "words" in a.parts: words(models, data, clips, about, out, a)
    if "fad" in a.parts: fad(models, data, clips, about, out, a)


def probes(models, data, clips, about, out, a):
    """probes.json: which digit is said, by speakers that neither the models nor the probe heard; who speaks, in half a
    second; and how the states are used on speech.
    """
    short = open_short(next(iter(models.values())), a.digits)
    said = digit_probe(models, short, a.labels, show=bar("digits"))
    print(format_probes(said))
    heard = 10
    who = speaker_probe(models, data, clips, tokens=heard, show=bar("speakers"))
    print(format_probes(who))
    use = used(models, data, clips)
    kinds = {n: dict(objective=m.config.model.objective, latent=m.config.model.latent, epochs=m.config.train.epochs, beta_kl=m.config.train.beta_kl) for n, m in models.items()}
    write_text(out / "probes.json", json.dumps(dict(about=about, models=kinds, digits={n: asdict(p) for n, p in said.items()}, speakers={n: asdict(p) for n, p in who.items()}, tokens_heard_of_speakers=heard, use=use), indent=1, allow_nan=False))


def codecs(models, data, clips, about, out, a):
    """codecs.json and codecs.png: Opus, codec2 if it is here, what the vocoder alone loses, and what the models draw,
    made audible.
    """
    coders = {f"Opus, setting {s:g}": opus(s) for s in (1.0, 0.99, 0.98, 0.95, 0.9)}
    try: coders |= {f"codec2, {m} bit/s": codec2(m) for m in CODEC2_MODES}
    except SpectroError as e: print(f"without codec2: {e}")
    coders |= {"copy-synthesis": copy_synthesis(data.front_end)} | {f"{n}, made audible": world_codec(m) for n, m in models.items()}
    rate = data.front_end.sample_rate
    result = judge_codecs(coders, data, clips, lambda i: read_audio(clip_file(a.clips, data.paths[i]), rate), show=bar("codecs"))
    print(format_codecs(result))
    told = dict(about=about, **result, line=rate_line(data, clips), tokens_per_second=1/data.tokens.seconds(data.front_end))
    save(out, "codecs", told, draw_codecs(told))


def draw_codecs(told):
    """codecs.png, of what codecs.json holds."""
    return plot_codecs(told, told["line"], told["tokens_per_second"])


def recording(data, a):
    """From clips to their recordings, at the front end's rate."""
    return lambda i: read_audio(clip_file(a.clips, data.paths[i]), data.front_end.sample_rate)


def some_of(data, clips, about):
    """What is said of a result that is of some clips only."""
    return about | dict(n_clips=len(clips), n_speakers=len({data.speakers[i] for i in clips}), seconds=float(data.lengths[clips].sum() / data.front_end.frame_rate))


def bend_alone(data):
    """The completion's last step without its first: what the band means, bent to meet both shores, are worth."""
    F, reach = data.tokens.frames, 0.1 * data.front_end.frame_rate

    def fill(z, start, end):
        known = z[start - F : end + F]
        missing = torch.zeros(len(known), dtype=torch.bool)
        missing[F : F + end - start] = True
        return bend(torch.zeros(2, *known.shape), known, missing, reach)[0]
    return fill


def completion(models, data, clips, about, out, a):
    """completion.json and completion.png: gaps in the middle of speech, first of frames, then cut out of the
    recordings, where sound can be filled in as well.
    """
    name, model = next(iter(models.items()))
    t, clips = model.config.train, pick_clips(data, clips, a.gap_clips) if a.gap_clips else [int(i) for i in clips]
    about = some_of(data, clips, about)
    var, told = autoregression(data, dict(fingerprint=data.fingerprint, val_split=t.val_split, split_seed=t.split_seed, tokens=asdict(data.tokens)), out / "rivals")
    others = {"VAR(5), both sides": lambda z, s, e: (var_gap(var, z, s, e), var_gap(var, z, s, e, samples=8)), "bend alone, nothing imagined": bend_alone(data), "world model, near side": near_side(model, data, a.seed)}
    sound, result, figures = GapsInSound(recording(data, a), {"Janssen AR(512) of the waveform": janssen}), {}, {}
    for kind, gaps in ({"gaps of frames": {}} | ({"gaps in the sound": dict(gaps=sound)} if a.clips else {})).items():
        found = gap_errors(model, data, clips, (.05, .1, .2, .5), others, seed=a.seed, most=a.gaps, show=bar("completion", "clips and lengths"), **gaps)
        print(f"{kind}: {format_gaps(found, ('mse', 'energy', 'sample', 'seams'))}", flush=True)
        result[kind], figures[kind] = found.to_dict(), draw_gaps(found, kind)
        file = "completion" if kind == "gaps of frames" else "completion_sound"
        figures[kind].savefig(out / f"{file}.png", dpi=110)
        write_text(out / "completion.json", json.dumps(dict(about=about, model=name, rivals={"VAR(5)": told}, gaps_of_each_clip=a.gaps, **result), indent=1, allow_nan=False))


def draw_gaps(found, kind):
    """What is missing there, under its name; returns the figure."""
    fig = plot_gaps(found, ("mse", "energy", "seams"))
    fig.suptitle(kind)
    return fig


def words(models, data, clips, about, out, a):
    """words_in_noise.json and its figure: word errors on short clips in noise, of the recording, its copy-synthesis and
    what the models draw of it.
    """
    seconds, shortest, longest = data.lengths / data.front_end.frame_rate, *a.word_seconds
    some = pick_clips(data, [int(i) for i in clips if shortest <= seconds[i] <= longest and data.sentences[i]], a.word_clips)
    if not some: raise SpectroError(f"no clip of {shortest:g} to {longest:g} s has a sentence")
    about = some_of(data, some, about)
    print(f"words: {len(some)} clips of {about['n_speakers']} speakers, {about['seconds']:.0f} s", flush=True)
    found, plain = {}, lambda row: {way: asdict(w) for way, w in row.items()}

    def keep():
        if not found["white"]: return
        whole = {k: plain(r) if k == "clean" else {str(s): plain(x) for s, x in r.items()} for k, r in found.items()}
        save(out, "words_in_noise", dict(about=about, seconds_of_a_clip=a.word_seconds, recogniser="PocketSphinx, quick", **whole), plot_words(found))

    def show(conditions):
        for c in bar("words", "conditions")(conditions):
            yield c
            keep()

    words_in_noise(ways_to_hear(models), [clip_file(a.clips, data.paths[i]) for i in some], [data.sentences[i] for i in some], data.front_end.sample_rate, babblers(data, a), seed=a.seed,
                   into=found, show=show)
    print(format_words(found), flush=True)


# window and hop in seconds; what the halves do not share
FAD_CUTS = (((WINDOW, WINDOW), "speakers"), ((WINDOW, WINDOW), "clips"), ((0.25, 0.25), "speakers"), ((0.25, 0.125), "speakers"))


def fad(models, data, clips, about, out, a):
    """fad.json and fad.png: the Fréchet distance of real, noisy, copied and drawn speech at several numbers of vectors;
    real against real are other speakers, or other clips of any.
    """
    front_end, frames = data.front_end, round(a.fad_seconds * data.front_end.frame_rate)
    if a.fad_clips: clips = pick_clips(data, clips, a.fad_clips)
    sets = {"real": []}
    for i in bar("fad")([int(i) for i in clips]):
        wave = recording(data, a)(i)[: frames * front_end.hop_length]
        spec = torch.from_numpy(log_mel(wave, front_end))
        drawn = {"Griffin-Lim, 1 iteration": (spec, dict(n_iter=1)), "copy-synthesis": (spec, {})} | {f"{n}, drawn again": (m.reconstruct(spec).detach(), {}) for n, m in models.items()}
        sets["real"].append(wave)
        for snr in (20, 5): sets.setdefault(f"white noise, {snr} dB", []).append(noisy(wave, snr, seed=[a.seed, i]))
        for name, (x, how) in drawn.items(): sets.setdefault(name, []).append(vocode(x.numpy(), front_end, **how))
    about = some_of(data, clips, about) | dict(seconds=sum(map(len, sets["real"])) / front_end.sample_rate)
    real, others, groups = sets["real"], {n: s for n, s in sets.items() if n != "real"}, [data.speakers[i] for i in clips]
    result, tables = [], {}
    for (window, hop), split in FAD_CUTS:
        rows = tables[window, hop, split] = fad_by_size(real, others, front_end.sample_rate, groups=groups if split == "speakers" else None, window=window, hop=hop, seed=a.seed)
        enough = {n: enough_vectors(rows, n) for n in others}
        result.append(dict(window=window, hop=hop, split_by=split, rows={str(n): {k: v._asdict() for k, v in r.items()} for n, r in rows.items()}, enough=enough))
        print(f"window {window:g} s, hop {hop:g} s, split by {split}; five times real against real from N =", enough)
        for n, r in rows.items():
            print(f"  N = {n:<6}" + "".join(f"{k}: {v.mean:.0f} ± {v.spread:.0f}   " for k, v in r.items()), flush=True)
    save(out, "fad", dict(about=about, seconds_of_a_clip=a.fad_seconds, unit="squared Fréchet distance of MFCC "
                                                                             "statistics, mean and standard "
                                                                             "deviation over splits into halves", cuts=result), plot_fad(tables))


def plot_fad(tables):
    """Fréchet distances over the number of vectors, a panel for each cut; returns the figure."""
    import matplotlib.pyplot as plt
    fig, axs = plt.subplots(1, len(tables), figsize=(1 + 4 * len(tables), 3.4), layout="constrained", squeeze=False, sharey=True)
    for ax, ((window, hop, split), rows) in zip(axs[0], tables.items()):
        for k, name in enumerate(next(iter(rows.values()))):
            ax.errorbar(list(rows), [r[name].mean for r in rows.values()], [r[name].spread for r in rows.values()], fmt="os^Dv"[k % 5] + "-", ms=4, capsize=2, label=name)
        ax.set(title=f"window {window:g} s, hop {hop:g} s\nhalves of different {split}", xlabel="N, vectors in each set", xscale="log", yscale="log")
        ax.set_xticks(list(rows), list(map(str, rows)))
        ax.minorticks_off()
    axs[0, 0].set(ylabel="Fréchet distance from real")
    fig.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return fig


def used(models, data, clips):
    """How much of its state each model uses, said and returned."""
    use = {n: asdict(latent_use(m, data, clips)) for n, m in models.items()}
    for n, u in use.items():
        print(f"{n}: {u['active']} of {u['units']} units active" + (f", perplexity {u['perplexity']:.1f} of "
                                                                    f"{u['classes']}" if u["perplexity"] else ""))
    return use


def latents(models, data, clips, about, file, a):
    """What is in the states: how they are used and move, what they put side by side, what can be read off them, and in
    what noise.

    The first run is probed and drawn.
    """
    name, first = next(iter(models.items()))
    read = readers({name: first}, kept_gru(a.gru, data, first.config.train), a.seed)
    short, result = open_short(first, a.digits), dict(about=about, readers=list(read))
    use = {n: latent_use(m, data, spread(clips, 60)) for n, m in models.items()}
    for n, u in use.items():
        print(f"  {n}: {u.active} of {u.units} active, {u.nats_per_token:.1f} nats" + (f", perplexity {u.perplexity:.2f} of {u.classes}, single {u.perplexity_single:.2f}" if u.classes else ""), flush=True)
    draw(file, "use", plot_use(use))
    result |= dict(use={n: asdict(u) for n, u in use.items()}) | spaces(models, data, clips, short, file, a)
    write_text(file, json.dumps(result, indent=1, allow_nan=False))
    result["probes"], sounds = questions(read, data, clips, short, a)
    write_text(file, json.dumps(result, indent=1, allow_nan=False))
    noise = {}
    for task, (files, labels, groups, longest) in sounds.items():
        print(f"{task} in noise: {len(files)} clips", flush=True)
        noise[task] = in_noise(read, files, labels, groups, data.front_end, babblers(data, a), longest=longest, seed=a.seed, l2s=PENALTIES, show=bar("noise", "conditions"))
        print(f"{task}: {format_probes(noise[task]['clean'])}", flush=True)
        draw(file, "noise", plot_noise(noise))
        plain = lambda kind, by: {n: asdict(p) if kind == "clean" else {str(s): v._asdict() for s, v in p.items()} for n, p in by.items()}
        result["noise"] = {t: {k: plain(k, by) for k, by in r.items()} for t, r in noise.items()}
        write_text(file, json.dumps(result, indent=1, allow_nan=False))
        for kind in ("white", "babble"):
            print("\n".join(f"  {kind:<8}{n:<28}" + " ".join(f"{s} dB {v.accuracy:.3f}" for s, v in by.items()) for n, by in noise[task][kind].items()))


PENALTIES, HEARD = L2S[1:], 50  # of probes; tokens of a clip of speech that they hear


def spread(some, n):
    """About n of some, evenly spread."""
    return some[:: max(1, len(some) // n)] if n else some


def draw(file, name, fig):
    """A figure beside the file of results."""
    import matplotlib.pyplot as plt
    fig.savefig(file.with_name(f"{file.stem}_{name}.png"), dpi=110)
    plt.close(fig)


def spaces(models, data, clips, short, file, a):
    """Smoothness of paths on whole clips; pictures of tokens of digits and of speech, each with its measures. h and z
    of every run, and of an untrained one.
    """
    together, some = models | {"untrained": untrained(next(iter(models.values())), a.seed)}, spread(clips, 60)
    speech = {n: collect_latents(m, data, some) for n, m in together.items()}
    one = next(iter(speech.values()))
    whitened = pca(one.mel, 20)[0]
    paths = {"log-mel of tokens": one.mel, "the same, whitened": whitened / whitened.std(0)} | {f"{n}: {p}": getattr(x, p) for n, x in speech.items() for p in ("h", "z")}
    moves = {n: smoothness(x, one.clip, 40) for n, x in paths.items()}
    print("\n".join(f"  {n:<34} step {m.step:.3f}, memory {m.memory} tokens" for n, m in moves.items()))
    draw(file, "smoothness", plot_smoothness(moves, data.tokens.seconds(data.front_end)))
    digit, speaker = (column_of(a.labels, short, c) for c in ("digit", "speaker"))
    seen, few = Counter(), []
    for i in sorted(digit):
        seen[digit[i], speaker[i]] += 1
        if seen[digit[i], speaker[i]] <= 6: few.append(i)
    said = {n: collect_latents(m, short, few) for n, m in together.items()}
    counts = Counter(data.speakers[i] for i in clips)
    talk = [int(i) for s, _ in counts.most_common(6) for i in [i for i in clips if data.speakers[i] == s][:4]]
    talked = {n: collect_latents(m, data, talk, 80) for n, m in together.items()}
    voice = {s: f"voice {k + 1}" for k, (s, _) in enumerate(counts.most_common(6))}
    found = {}
    for what, all_states, by in (("digits", said, {"digit": digit, "speaker": speaker}), ("speech", talked, {"speaker": {i: voice[data.speakers[i]] for i in talk}})):
        one = next(iter(all_states.values()))
        colours = {"cluster": phone_like(one.mel)} | {k: one.labels(v) for k, v in by.items()}
        rooms = {"log-mel": one.mel} | {f"{n}: {p}": getattr(x, p) for n, x in all_states.items() for p in ("h", "z")}
        apart = {"cluster": colours["speaker"], "digit": colours["speaker"]}
        shown = {n: rooms[n] for n in [*list(rooms)[:3], "untrained: h"]}
        measured = {(s, c): dict(whole=separation(x, l, apart.get(c, one.clip))) for s, x in rooms.items() for c, l in colours.items()}
        for (s, c), m in measured.items():
            print(f"  {what}: {s:<34} by {c:<8} purity {m['whole'].purity:.3f}, by lot {m['whole'].chance:.3f}, "
                  f"silhouette {m['whole'].silhouette:+.3f}", flush=True)
        for how in ("pca", "tsne"):
            fig, planes = picture(one, colours, shown, how, a.seed, apart)
            draw(file, f"{what}_{how}", fig)
            for key, m in planes.items(): measured[key][how] = m["plane"]
        found[what] = dict(n_tokens=len(one.clip), n_clips=len(set(one.clip.tolist())), measures={f"{s} by {c}": {k: v._asdict() for k, v in m.items()} for (s, c), m in measured.items()})
    return dict(smoothness={n: asdict(m) for n, m in moves.items()}, separation=found)


def questions(read, data, clips, short, a):
    """Probes of digit and speaker with few labels, of gender with all; and what the probes in noise, which use all
    labels, are asked: files, labels, groups, frames heard.
    """
    digit, who = (column_of(a.labels, short, c) for c in ("digit", "speaker"))
    known, counts = [i for i in sorted(digit) if short.tokens.n_tokens(int(short.lengths[i])) > 0], Counter(data.speakers[i] for i in clips)
    known, spoken = spread(known, a.max_digits), [int(i) for i in clips if counts[data.speakers[i]] >= 4]
    seen, some, heard, gender = Counter(), Counter(), data.tokens.n_frames(HEARD), column_of(a.table, data, "gender")
    turns = [(seen.update([data.speakers[i]]), seen[data.speakers[i]] % 4)[1] for i in spoken]
    listed = [i for i in sorted(gender) if some.update([data.speakers[i]]) or some[data.speakers[i]] <= 3]
    new = sorted(set(listed) & set(clips.tolist()))
    fold = lambda at, n: [{s: k % n for k, s in enumerate(sorted({data.speakers[i] for i in at}))}[data.speakers[i]] for i in at]
    tasks = {"digit": (short, known, [digit[i] for i in known], [who[i] for i in known], None), "speaker": (data, spoken, [data.speakers[i] for i in spoken], turns, heard),
             "gender, speakers not trained on": (data, new, [gender[i] for i in new], fold(new, 8), heard), "gender, all speakers": (data, listed, [gender[i] for i in listed], fold(listed, 6), heard)}
    answers = {}
    for task, (of, at, labels, groups, longest) in tasks.items():
        rows = clip_vectors(read, [of.clip(i)[:longest] for i in at])
        answers[task] = dict(n=len(at), tokens_heard=HEARD if longest else None)
        if task.startswith("gender"):
            found = {n: linear_probe(x, labels, groups, PENALTIES) for n, x in rows.items()}
            print(f"{task}: {format_probes(found)}", flush=True)
            answers[task]["probes"] = {n: asdict(p) for n, p in found.items()}
        else:
            few = {n: few_labels(x, labels, groups, seed=a.seed) for n, x in rows.items()}
            for n, f in few.items():
                print(f"  {task}: {n:<28}" + " ".join(f"{k} per class {s.accuracy:.3f} ± {s.se:.3f}  "
                                                      "" for k, s in f.items()), flush=True)
            answers[task]["few_labels"] = {n: {str(k): s._asdict() for k, s in f.items()} for n, f in few.items()}
    folder = {"digit": a.digit_clips, "speaker": a.clips}
    return answers, {t: ([Path(folder[t]) / of.paths[i] for i in at], labels, groups, longest) for t, (of, at, labels, groups, longest) in tasks.items() if t in folder}


def babblers(data, a):
    """Voices to babble, at any rate asked for: forty clips of speakers that models were trained on and no probe is
    tested on.
    """
    files, made = [Path(a.clips) / data.paths[i] for i in spread(data.train, 40)], {}
    return lambda rate: made[rate] if rate in made else made.setdefault(rate, voices_at(files, rate))


def rates(models, data, clips, about, out):
    """rates.json, latents.json and rates.png."""
    rd = rate_distortion(models, data, clips, show=bar("rate and distortion"))
    use = used(models, data, clips)
    print(format_rates(rd))
    vae, told = memoryless(models, data, out / "rivals")
    without = dict(told, **vae_rate(vae, data, clips, show=bar("VAE"))) if vae else None
    if vae:
        name, first = next(iter(models.items()))
        beta, bins = first.config.train.beta_kl, data.tokens.frames*len(data.mean)
        without["beta"], without["bound"] = beta, bound(without["nats_per_token"]["value"], without["mse_sampled"]["value"], bins, beta)
        without["with_memory"] = dict(run=name, bound=bound(rd["points"][name]["nats_per_token"], rd["points"][name]["mse_sampled"], bins, beta))
        print(f"VAE of single tokens: MSE {without['mse_sampled']['value']:.4f} at "
              f"{without['nats_per_token']['value']:.1f} nats; memory saves "
              f"{without['bound'] - without['with_memory']['bound']:.1f} nats of the bound")
    save(out, "rates", dict(about=about, without_memory=without, **rd), plot_rates(rd))
    write_text(out / "latents.json", json.dumps(dict(about=about, use=use), indent=1, allow_nan=False))


def forecasts(models, data, clips, about, out, a):
    """forecasts.json and forecasts.png."""
    others, told = rivals(models, data, out / "rivals", a.gru_steps)
    result = compare_forecasts(models, data, clips, others, a.horizons, a.samples, seed=a.seed, show=bar("forecasts"))
    print(format_forecasts(result))
    save(out, "forecasts", dict(about=about, rivals=told, **result.to_dict()), plot_forecasts(result))


def save(out, name, result, fig):
    """A picture, then the numbers."""
    fig.savefig(out / f"{name}.png", dpi=110)
    write_text(out / f"{name}.json", json.dumps(result, indent=1, allow_nan=False))


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="the HDF5 file the runs were trained on")
    p.add_argument("--runs", nargs="+", required=True, help="folders of runs (their best model), or checkpoints")
    p.add_argument("--output-dir", required=True, help="gets the results; the rivals are kept in its subfolder "
                                                       "`rivals`")
    p.add_argument("--parts", nargs="+", choices=("forecasts", "rates", "probes", "codecs", "latents", "completion", "words", "fad"), default=["rates", "forecasts"], help="what to judge (default: rates forecasts)")
    p.add_argument("--digits", help="for probes and latents: HDF5 file of spoken digits, prepared with the runs' "
                                    "front end and --min-tokens 1 or so")
    p.add_argument("--labels", help="for probes and latents: their labels.tsv, with columns path, digit and speaker")
    p.add_argument("--latents-file", help="for latents: the JSON to write; its figures get names that begin like it")
    p.add_argument("--digit-clips", help="for latents: the folder of the digits' recordings")
    p.add_argument("--clips", help="for codecs, latents, words and fad, and for gaps in the sound of completion: the "
                                   "folder of the recordings of --dataset")
    p.add_argument("--gap-clips", type=int, default=60, help="for completion: how many clips, of as many speakers as "
                                                             "there are; 0 for all (default: %(default)s)")
    p.add_argument("--gaps", type=int, default=2, help="for completion: most gaps of each length in a clip (default: "
                                                       "%(default)s)")
    p.add_argument("--word-clips", type=int, default=40, help="for words: how many clips, of as many speakers as "
                                                              "there are (default: %(default)s)")
    p.add_argument("--word-seconds", type=float, nargs=2, default=(2.0, 8.0), metavar=("FROM", "TO"), help="for words: how long a clip may be (default: 2 8)")
    p.add_argument("--fad-clips", type=int, default=0, help="for fad: how many clips, of as many speakers as there "
                                                            "are; 0 for all (default: %(default)s)")
    p.add_argument("--fad-seconds", type=float, default=6.0, help="for fad: seconds heard of each clip, from its "
                                                                  "beginning (default: %(default)s)")
    p.add_argument("--table", help="for latents: their validated.tsv, with the columns path and gender")
    p.add_argument("--max-digits", type=int, default=1000, help="for latents: about so many digits are probed; 0 for "
                                                                "all (default: %(default)s)")
    p.add_argument("--gru", help="for latents: a trained GRU, rivals/gru.pt of an earlier call (default: none)")
    p.add_argument("--samples", type=int, default=32, help="draws of each window (default: %(default)s)")
    p.add_argument("--gru-steps", type=int, default=5000, help="most gradient steps of the GRU; 0 for as many as the "
                                                               "first run's schedule (default: %(default)s)")
    p.add_argument("--horizons", type=int, nargs="+", default=[1, 2, 5, 10, 20], help="for forecasts: tokens ahead "
                                                                                      "(default: 1 2 5 10 20)")
    p.add_argument("--max-clips", type=int, default=0, help="judge about so many clips, evenly spread; 0 for all "
                                                            "(default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of all noise (default: %(default)s)")
    a = p.parse_args()
    if "probes" in a.parts and not (a.digits and a.labels): p.error("probes need --digits and --labels")
    for part in ("codecs", "words", "fad"):
        if part in a.parts and not a.clips: p.error(f"{part} need{'s' if part == 'fad' else ''} --clips")
    needed = ("digits", "labels", "latents_file", "digit_clips", "clips", "table")
    if "latents" in a.parts and (missing := [n for n in needed if not getattr(a, n)]):
        p.error("latents need --" + ", --".join(missing).replace("_", "-"))
    import matplotlib
    matplotlib.use("Agg")
    figure_style()
    try: judge(a)
    except SpectroError as e: sys.exit(f"judge: {e}")
    except OSError as e: sys.exit(f"judge: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__": main()
