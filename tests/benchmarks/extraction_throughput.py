"""Extraction over a corpus beside the bare spaCy pipeline of the same model: words per CPU-second, two workers, memory.

    python tests/benchmarks/extraction_throughput.py [--words 400000] [--papers 198875] [--recogniser FILE]

The text is made of the sentences of the embedded sample in ever new order, with two words in each paper that no other
has; `--recogniser` takes a saved one in place of the one that is trained here on the sample. "Extraction" is all of it:
reading the JSONL file, hashing, finding, sentences, normalising, looking molecules up and writing SQLite. Bare is
`for doc in nlp.pipe(texts)` over texts that are already in memory. Both run in this process, in turn, `--repeats`
times; the ratio is of their medians. Two workers are compared with one by the clock, which a loaded machine spoils: the
load is noted, and `two_workers_over_one_if_cores_were_free` is twice the ratio of CPU seconds. Memory is the resident
set of kernel and workers at the end, less what they had after the first 3 % of the papers. Prints one JSON object last.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from metering import cpu_s, machine, workers

from scilab.literature import Corpus, Recogniser, Training, sample_tasks
from scilab.literature.extraction import Extraction
from scilab.literature.extraction_records import ChunkFinished
from scilab.literature.sentences import sentence_around
from scilab.planes import Engine


def sentences():
    """Those of the embedded sample, each once."""
    found = {}
    for task in sample_tasks():
        place = 0
        while place < len(task.text):
            first, sentence = sentence_around(task.text, place, place + 1)
            found[sentence] = None
            place = max(first + len(sentence), place) + 1
    return [each for each in found if len(each.split()) > 4]


def write(path, papers, words, seed):
    """A JSONL file of papers of about so many words each; returns the words in it."""
    pool, draw, total = sentences(), random.Random(seed), 0
    with open(path, "w", encoding="utf-8") as file:
        for number in range(papers):
            parts, count = [f"Report{seed}x{number} of series{number * 7919 % 1_000_003}b:"], 3
            while count < words:
                parts.append(draw.choice(pool))
                count += parts[-1].count(" ") + 1
            file.write(json.dumps({"id": f"paper-{number}", "text": " ".join(parts)}) + "\n")
            total += count
    return total


def trained():
    training = Training(list(sample_tasks()), epochs=3, networks=1)
    for _ in training:
        pass
    return training.result.recogniser


def extract(path, recogniser, engine, to, chunk_words=20_000):
    extraction = Extraction(Corpus.jsonl(path, id="id"), recogniser, engine=engine, to=to, chunk_words=chunk_words)
    words = sum(record.words for record in extraction if isinstance(record, ChunkFinished))
    counts = extraction.result.counts()
    extraction.close()
    return words, counts


def beside_bare(path, recogniser, folder, repeats):
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    words = sum(text.count(" ") + 1 for text in texts)
    bare, ours = [], []
    with Engine.threads(1) as engine:
        for turn in range(-1, repeats):  # the first is for imports and caches
            began = time.process_time()
            for _ in recogniser.nlp.pipe(texts):
                pass
            between = time.process_time()
            read, counts = extract(path, recogniser, engine, folder / f"bare-{turn}.db")
            ended = time.process_time()
            assert read == words
            if turn >= 0:
                bare.append(words / (between - began))
                ours.append(words / (ended - between))
    return {
        "words": words,
        "mentions_per_1000_words": round(1000 * counts["mentions"] / words, 1),
        "bare_words_per_cpu_s": round(statistics.median(bare)),
        "extraction_words_per_cpu_s": round(statistics.median(ours)),
        "extraction_over_bare": round(statistics.median(ours) / statistics.median(bare), 3),
    }


def two_workers(path, recogniser, folder, repeats):
    seconds, cpu = {1: [], 2: []}, {1: [], 2: []}
    engines = {count: Engine.processes(count).wait_ready() for count in (1, 2)}
    try:
        for turn in range(-1, repeats):
            for count, engine in engines.items():
                others = workers()
                began, used = time.perf_counter(), cpu_s(others)
                extract(path, recogniser, engine, folder / f"workers-{count}-{turn}.db", chunk_words=10_000)
                if turn >= 0:  # the first is for imports in the workers
                    seconds[count].append(time.perf_counter() - began)
                    cpu[count].append(cpu_s(others) - used)
    finally:
        for engine in engines.values():
            engine.close()
    by_clock = statistics.median(seconds[1]) / statistics.median(seconds[2])
    return {
        "two_workers_over_one_by_clock": round(by_clock, 2),
        "two_workers_over_one_if_cores_were_free": round(2 * statistics.median(cpu[1]) / statistics.median(cpu[2]), 2),
    }


def memory(recogniser, folder, papers):
    path = folder / "many.jsonl"
    words = write(path, papers, 100, seed=2)
    settled = {}
    with Engine.processes(1) as engine:
        extraction = Extraction(Corpus.jsonl(path, id="id"), recogniser, engine=engine, to=folder / "many.db")
        began, read, told = time.perf_counter(), 0, 0.1
        for record in extraction:
            if isinstance(record, ChunkFinished):
                read = record.papers_read
                if not settled and read > 0.03 * papers:
                    settled = {each.pid: each.memory_info().rss for each in [psutil.Process(), *workers()]}
                if read > told * papers:
                    print(read, "papers,", grown_mb(settled), "MB more than at 3 %", flush=True)
                    told += 0.1
        grown = grown_mb(settled)
        counts = extraction.result.counts()
        extraction.close()
    here = grown[os.getpid()]
    return {
        "papers": read,
        "papers_words": words,
        "papers_mentions": counts["mentions"],
        "papers_seconds": round(time.perf_counter() - began),
        "kernel_grew_mb": here,
        "all_grew_mb": round(sum(grown.values()), 1),
    }


def grown_mb(settled):
    """By how many MB each process's resident set has grown since."""
    return {pid: round((psutil.Process(pid).memory_info().rss - rss) / 2**20, 1) for pid, rss in settled.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--papers", type=int, default=198_875)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recogniser", type=Path)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    recogniser = Recogniser.load(given.recogniser) if given.recogniser else trained()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "papers.jsonl", given.words // 1000, 1000, seed=1)
        figures = beside_bare(folder / "papers.jsonl", recogniser, folder, given.repeats)
        print(figures, flush=True)
        figures |= two_workers(folder / "papers.jsonl", recogniser, folder, given.repeats)
        print(figures, flush=True)
        if given.papers:
            figures |= memory(recogniser, folder, given.papers)
    figures |= {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}
    print(json.dumps(figures | {"machine": machine("spacy", "scilab")}))


if __name__ == "__main__":
    main()
