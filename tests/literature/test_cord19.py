import csv
import io
import json
import tarfile

import pytest

from scilab.literature import Corpus, Paragraph

NEW = [
    "cord_uid", "sha", "source_x", "title", "doi", "pmcid", "pubmed_id", "license", "abstract", "publish_time",
    "authors", "journal", "mag_id", "who_covidence_id", "arxiv_id", "pdf_json_files", "pmc_json_files", "url",
    "s2_id",
]  # fmt: skip
OLD = [
    "cord_uid", "sha", "source_x", "title", "doi", "pmcid", "pubmed_id", "license", "abstract", "publish_time",
    "authors", "journal", "mag_id", "who_covidence_id", "has_pdf_parse", "has_pmc_xml_parse", "full_text_file",
    "url",
]  # fmt: skip
LONG = "Remdesivir and the recovery of adults with pneumonia in nine hospitals"


def parse(*body, abstract=()):
    return json.dumps(
        {
            "paper_id": "x",
            "metadata": {"title": "", "authors": []},
            "abstract": [{"text": text, "section": "Abstract"} for text in abstract],
            "body_text": [{"text": text, "cite_spans": [], "ref_spans": [], "section": part} for part, text in body],
            "back_matter": [{"text": "We thank the staff.", "section": "Acknowledgements"}],
        }
    )


def table(columns, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


P, Q = "document_parses/pmc_json/PMC{}.xml.json", "document_parses/pdf_json/{}.json"
RELEASE = {
    "metadata.csv": table(
        NEW,
        [
            {"cord_uid": "both", "sha": "s1; s2", "title": LONG, "pmcid": "PMC1", "doi": "10.1/A",
             "abstract": "An abstract, with 💊.", "publish_time": "2020-05-01",
             "pdf_json_files": Q.format("s1") + "; " + Q.format("s2"), "pmc_json_files": P.format(1)},
            {"cord_uid": "again", "sha": "s1", "title": "Other title", "pdf_json_files": Q.format("s1")},  # its PDF
            {"cord_uid": "later", "title": LONG.upper() + "!", "doi": "10.1/B", "abstract": "x"},  # its title
            {"cord_uid": "doi", "title": "Third", "doi": "10.1/a"},  # its DOI
            {"cord_uid": "none", "title": "Editorial", "publish_time": "2019", "abstract": "No full text."},
            {"cord_uid": "none2", "title": "Editorial", "publish_time": "2018 Mar 1", "abstract": "Another."},
            {"cord_uid": "pdf", "sha": "s3", "title": "Only a PDF", "pdf_json_files": Q.format("s3")},
            {"cord_uid": "twice", "title": "Twice", "abstract": "Metadata alone."},
            {"cord_uid": "twice", "title": "Twice", "sha": "s4", "pdf_json_files": Q.format("s4")},
            {"cord_uid": "bad", "sha": "s5", "title": "Bad JSON", "pdf_json_files": Q.format("s5")},
            {"cord_uid": "odd", "sha": "s6", "title": "Odd JSON", "pdf_json_files": Q.format("s6")},
            {"cord_uid": "gone", "sha": "s7", "title": "Gone", "pdf_json_files": Q.format("s7")},
        ],
    ),
    P.format(1): parse(("Introduction", "From the XML."), ("Methods", "Shared words."), ("Methods", " ")),
    Q.format("s1"): parse(("", "From the PDF.")),
    Q.format("s2"): parse(("", "A supplement.")),
    Q.format("s3"): parse(("Results", "Shared words."), ("Results", "New."), abstract=["Abstract of the PDF."]),
    Q.format("s4"): parse(("", "The text of twice.")),
    Q.format("s5"): '{"body_text": [{"text": "cut of',
    Q.format("s6"): '{"body_text": [{"section": "no text here"}]}',
}  # fmt: skip
EXPECTED = {
    "both": [("Title", LONG, 0), ("Abstract", "An abstract, with 💊.", 1), ("Introduction", "From the XML.", 2),
             ("Methods", "Shared words.", 3)],
    "pdf": [("Title", "Only a PDF", 0), ("Abstract", "Abstract of the PDF.", 1), ("Results", "New.", 3)],
    "twice": [("Title", "Twice", 0), ("", "The text of twice.", 1)],
    "bad": [("Title", "Bad JSON", 0)],
    "odd": [("Title", "Odd JSON", 0)],
    "gone": [("Title", "Gone", 0)],
    "none": [("Title", "Editorial", 0), ("Abstract", "No full text.", 1)],
    "none2": [("Abstract", "Another.", 1)],
}  # fmt: skip
PROBLEMS = {
    "s5": "is no JSON: Unterminated string",
    "s6": "is not a parse of CORD-19: body_text, a list of objects with a text, is expected",
    "s7": "is not there, though metadata.csv names it; of paper gone title and abstract are read",
}


def lay(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def pack(file, files, top="", mode="w:gz"):
    with tarfile.open(file, mode) as tar:
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(f"{top}{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def laid(form, tmp_path):
    parses = {name: text for name, text in RELEASE.items() if name != "metadata.csv"}
    if form == "folder":
        return lay(tmp_path / "2020-06-01", RELEASE)
    if form == "tar":
        # Metadata last; and the PDF of `both`, that `again` names too, before its XML.
        first = Q.format("s1")
        files = {first: RELEASE[first], **parses, "metadata.csv": RELEASE["metadata.csv"]}
        return pack(tmp_path / "release.tar", files, "2020-06-01/", "w")
    packed = pack(tmp_path / "document_parses.tar.gz", parses)
    if form == "folder with a tar":
        lay(tmp_path, {"metadata.csv": RELEASE["metadata.csv"], "changelog": "x"})
        pack(tmp_path / "cord_19_embeddings.tar.gz", {"cord_19_embeddings.csv": "both,1,2"})
        return tmp_path
    inner = {"changelog": "x", "cord_19_embeddings.tar.gz": b"no tar", "document_parses.tar.gz": packed.read_bytes()}
    inner["metadata.csv"] = RELEASE["metadata.csv"]
    return pack(tmp_path / "cord-19_2020-06-01.tar.gz", inner, "2020-06-01/")


@pytest.mark.parametrize("form", ["folder", "tar", "folder with a tar", "tar of tars"])
def test_one_parse_a_paper_of_pmc_first_and_copies_dropped(form, tmp_path):
    papers = Corpus.cord19(laid(form, tmp_path))
    found = {paper.paper_id: paper for paper in papers}
    assert {
        name: [(each.section, each.text, each.index) for each in paper.paragraphs] for name, paper in found.items()
    } == EXPECTED
    assert papers.dropped == {"papers": 4, "paragraphs": 2}
    assert [found[name].published for name in ("both", "none", "none2", "pdf")] == ["2020-05-01", "2019", "2018", ""]
    assert len(papers.problems) == 3
    for sha, reason in PROBLEMS.items():
        (told,) = [problem for problem in papers.problems if f"{sha}.json" in problem.where]
        assert reason in told.reason
    assert list(papers) == list(found.values())  # once more, the same
    again = Corpus.from_settings(papers.settings)
    assert again.digest == papers.digest and list(again) == list(found.values())


@pytest.mark.parametrize("doubled", ["", "comm_use_subset/"])
def test_the_schema_before_may_2020(doubled, tmp_path):
    rows = [
        {"cord_uid": "a", "sha": "s1", "title": "A", "pmcid": "PMC1", "has_pdf_parse": "True",
         "has_pmc_xml_parse": "True", "full_text_file": "comm_use_subset", "publish_time": "2020 Apr 9"},
        {"cord_uid": "b", "sha": "s2; s3", "title": "B", "has_pdf_parse": "True", "has_pmc_xml_parse": "False",
         "full_text_file": "comm_use_subset"},
        {"cord_uid": "c", "title": "C", "has_pdf_parse": "False", "has_pmc_xml_parse": "False", "abstract": "Short."},
    ]  # fmt: skip
    place = f"comm_use_subset/{doubled}"
    lay(
        tmp_path,
        {
            "metadata.csv": table(OLD, rows),
            f"{place}pmc_json/PMC1.xml.json": parse(("Intro", "Xml of A.")),
            f"{place}pdf_json/s1.json": parse(("", "Pdf of A.")),
            f"{place}pdf_json/s2.json": parse(("", "Pdf of B.")),
        },
    )
    papers = Corpus.cord19(tmp_path)
    assert {paper.paper_id: paper.paragraphs[-1] for paper in papers} == {
        "a": Paragraph("Xml of A.", "Intro", 1),
        "b": Paragraph("Pdf of B.", "", 1),
        "c": Paragraph("Short.", "Abstract", 1),
    }
    assert papers.problems == [] and next(iter(papers)).published == "2020"


@pytest.mark.parametrize(
    "files, inside, told",
    [
        ({"2020-06-01/metadata.csv": "", "2020-07-01/metadata.csv": ""}, "", "release is inside it: give .*2020-07-01"),
        ({"parses/pdf_json/s.json": "{}"}, "parses", "these are the parses alone; give the folder above"),
        ({"notes.txt": "x", "data/a.csv": "x"}, "", r"no metadata.csv in it, only data/, notes.txt; give the folder"),
        ({"metadata.csv": "id,text\n1,x\n"}, "", "it needs the columns pmc_json_files and .*; it has id, text"),
        ({"metadata.csv": ""}, "", "it has none"),
    ],
)
def test_a_wrong_layout_is_told_with_what_is_there_and_what_to_give(files, inside, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        Corpus.cord19(lay(tmp_path, files) / inside)


def test_a_tar_that_is_none_or_holds_no_release_is_told(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b not really")
    with pytest.raises(ValueError, match=r"a\.tar\.gz is not a whole tar file .*fetch it again"):
        Corpus.cord19(tmp_path / "a.tar.gz")
    with pytest.raises(ValueError, match=r"b\.tar holds no metadata\.csv"):
        Corpus.cord19(pack(tmp_path / "b.tar", {"pdf_json/s1.json": "{}"}, mode="w"))


def test_an_archive_that_breaks_off_costs_what_comes_after(tmp_path):
    parses = {name: text for name, text in RELEASE.items() if name != "metadata.csv"}
    tar = pack(tmp_path / "document_parses.tar.gz", {**parses, "rest.json": str(list(range(100_000)))})
    tar.write_bytes(tar.read_bytes()[:-50_000])
    papers = Corpus.cord19(lay(tmp_path, {"metadata.csv": RELEASE["metadata.csv"]}))
    assert {paper.paper_id for paper in papers} == set(EXPECTED)
    assert any("breaks off" in problem.reason for problem in papers.problems)


def test_a_byte_that_is_no_utf8_costs_one_character(tmp_path):
    text = table(NEW, [{"cord_uid": "a", "title": "Caf@", "abstract": "x" * 200_000}, {"cord_uid": "b", "title": "B"}])
    (tmp_path / "metadata.csv").write_bytes(text.encode().replace(b"@", b"\xe9"))
    assert [paper.title for paper in Corpus.cord19(tmp_path)] == ["Caf\ufffd", "B"]
