"""What an upload is by its content, whatever it says of itself; clean names."""

import codecs
import zlib

import pytest

from chatd.chats.media import (
    ALLOWED_TYPES,
    MAX_FILE_BYTES,
    checked_type,
    clean_name,
    declared_type,
    detect_type,
    file_name,
    too_large,
)
from chatd.core.errors import ChatdError

PNG = b"\x89PNG\r\n\x1a\n"
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 "
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
UNSUPPORTED = {
    "message": "Unsupported file type.",
    "detail": "Allowed types: application/json, application/pdf, image/gif, image/jpeg,"
    " image/png, image/webp, text/csv, text/markdown, text/plain",
}
OCTETS = "application/octet-stream"


def refused(declared: str, name: str, body: bytes) -> dict:
    with pytest.raises(ChatdError) as caught:
        checked_type(declared_type(declared), name, body)
    assert caught.value.http_status == 400
    return caught.value.body()


# signatures


SIGNED = {
    "png": (PNG, "image/png"),
    "png and padding": (PNG + bytes(100), "image/png"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
    "gif 87": (b"GIF87a" + bytes(9), "image/gif"),
    "gif 89": (b"GIF89a" + bytes(9), "image/gif"),
    "webp": (WEBP, "image/webp"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "application/pdf"),
    "pdf of text": (b"%PDF-1.4\nhello", "application/pdf"),
}


@pytest.mark.parametrize("kind", SIGNED)
@pytest.mark.parametrize("name", ["x", "x.txt", "x.svg", "x.json", "x.md"])
def test_a_signature_decides_whatever_the_name(kind, name):
    body, media_type = SIGNED[kind]
    assert detect_type(name, body) == media_type
    assert checked_type(media_type, name, body) == media_type
    assert checked_type(OCTETS, name, body) == media_type


@pytest.mark.parametrize("kind", SIGNED)
def test_no_signature_passes_for_text(kind):
    body, media_type = SIGNED[kind]
    assert refused("text/plain", "x.txt", body) == {
        "message": "File content type does not match Content-Type header.",
        "detail": f'Header declared "text/plain" but file content was detected as "{media_type}".',
    }


BINARY = {
    "zeros": bytes(64),
    "cut png": PNG[:7],
    "riff of sound": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "elf": b"\x7fELF\x02\x01\x01\x00",
    "zip": b"PK\x03\x04\x14\x00",
    "gzip": b"\x1f\x8b\x08\x00",
    "zlib": zlib.compress(b"hello" * 99),
    "mp4": b"\x00\x00\x00\x18ftypmp42",
    "broken utf-8": b"caf\xe9 \xff\xfe",
    "utf-16 without a mark": "hello".encode("utf-16-le"),
    "broken utf-16": codecs.BOM_UTF16_LE + b"a",
    "lone surrogate in utf-16": codecs.BOM_UTF16_LE + b"\x00\xd8a\x00",
    "text with a NUL": b"hello\x00world",
}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("name", ["x.txt", "x.png", "x.json", "x.md", "x"])
def test_what_is_neither_known_nor_text_is_refused(kind, name):
    assert detect_type(name, BINARY[kind]) == OCTETS
    for declared in ("", OCTETS, "text/plain", "image/png"):
        assert refused(declared, name, BINARY[kind]) == UNSUPPORTED


# SVG and XML


PROLOGUES = {
    "nothing": "",
    "space": " \r\n\t",
    "byte order mark": "\ufeff",
    "declaration": '<?xml version="1.0"?>',
    "mark and declaration": '\ufeff <?xml version="1.0" encoding="utf-8"?>\n',
    "comment": "<!-- not an svg -->",
    "comment with a tag": "<!-- <html> > -->",
    "many comments": "<!---->\n" * 5000,
    "long comment": f"<!--{'x' * 200_000}-->",
    "long space": " " * 200_000,
    "doctype": '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd">',
    "small doctype": "<!doctype svg>",
    "doctype with entities": '<!DOCTYPE svg [ <!ENTITY a "]"> <!ENTITY b ">"> ]>',
    "doctype that ends early": '<!DOCTYPE svg [ <!ENTITY a "]>"> ]>',
    "doctype of html": "<!DOCTYPE html>",
    "instruction": '<?xml-stylesheet href="a.css"?>',
    "everything": '<?xml version="1.0"?>\n<!-- a --><!DOCTYPE x [<!ELEMENT x ANY>] >\n<?y z?>',
}


@pytest.mark.parametrize("prologue", PROLOGUES)
@pytest.mark.parametrize("name", ["x.svg", "x.txt", "x.json", "x.csv", "x.md", "x.png", "x"])
def test_an_svg_is_refused_whatever_comes_before_it_and_whatever_its_name(prologue, name):
    body = (PROLOGUES[prologue] + SVG).encode()
    assert detect_type(name, body) == "image/svg+xml"
    for declared in ("", OCTETS, "text/plain", "image/png", "text/markdown"):
        assert refused(declared, name, body) == UNSUPPORTED


@pytest.mark.parametrize("root", ["<SVG>", "<svg/>", "<s:svg xmlns:s='x'>", "<svg\n>", "<svg"])
def test_an_svg_is_known_in_every_spelling_of_its_root(root):
    assert detect_type("x.txt", root.encode()) == "image/svg+xml"


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be"])
def test_an_svg_is_known_in_utf_16(mark):
    assert detect_type("x.txt", f"\ufeff{SVG}".encode(mark)) == "image/svg+xml"


def test_an_svg_cannot_be_declared():
    with pytest.raises(ChatdError) as caught:
        declared_type("image/svg+xml")
    assert caught.value.body() == UNSUPPORTED


@pytest.mark.parametrize("words", ["<svgs>", "a <svg>", "&lt;svg>", "<p><svg></svg></p>", "svg"])
def test_text_about_an_svg_is_text(words):
    assert detect_type("x.txt", words.encode()) == "text/plain"


@pytest.mark.parametrize(
    "body", ["<?xml version='1.0'?><a/>", " \n<?XML ?>", "\ufeff<?xml?><html/>", "<?xml"]
)
@pytest.mark.parametrize("name", ["x.xml", "x.txt", "x.md", "x.json"])
def test_xml_is_refused(body, name):
    assert detect_type(name, body.encode()) == "text/xml"
    assert refused("text/plain", name, body.encode()) == UNSUPPORTED


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "body",
    [
        "<!DOCTYPE" + " " * 1_000_000,
        "<!DOCTYPE x [" + "]" * 1_000_000,
        "<!DOCTYPE x [" + "] " * 500_000,
        "<!--" + "-" * 1_000_000,
        "<!-- -->" * 200_000,
        "<?" + "?" * 1_000_000,
        " " * 1_000_000 + "x",
        "<" * 1_000_000,
        "<" + "a" * 1_000_000,
    ],
    ids=lambda body: body[:14],
)
def test_no_text_takes_long_to_look_at(body):
    assert detect_type("x.txt", body.encode()) == "text/plain"


# text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        "caf\u00e9 \U0001f600".encode(),
        "\ufeffmarked".encode(),
        "wide".encode("utf-16"),
        b"<html><script>alert(1)</script></html>",
        b"<!DOCTYPE html><p>hello",
        b"#!/bin/sh\nrm -rf /",
        b"\x1b[31mred\x1b[0m\x08\x0c",
        b"import os",
    ],
)
@pytest.mark.parametrize("name", ["x.txt", "x.html", "x.py", "x.sh", "x", "x.json", "x.svg"])
def test_any_other_text_is_plain(body, name):
    assert checked_type("text/plain", name, body) == "text/plain"
    assert checked_type(OCTETS, name, body) == "text/plain"


REFINED = [
    ("x.md", b"# Title", "text/markdown"),
    ("x.MARKDOWN", b"", "text/markdown"),
    ("x.csv", b"a,b\n1,2", "text/csv"),
    ("x.tar.CSV", b"<p>", "text/csv"),
    ("x.json", b'{"a": [1, 2.5e3, null]}', "application/json"),
    ("x.JSON", b" 1 ", "application/json"),
    (".json", b'"text"', "application/json"),
    ("x.json", b"{'a': 1}", "text/plain"),
    ("x.json", b"", "text/plain"),
    ("x.json", b"NaN", "text/plain"),
    ("x.json", b"[Infinity]", "text/plain"),
    ("x.json", b"[" * 100_000, "text/plain"),
    ("x.json", b"9" * 10_000, "text/plain"),
    ("x.json ", b"{}", "application/json"),
    ("json", b"{}", "application/json"),
    ("data", b' \n[{"a": 1}]\n', "application/json"),
    ("x.txt", b'{"a": 1}', "application/json"),
    ("x.txt", b"{a: 1}", "text/plain"),
    ("x.txt", b'"a text in quotes"', "text/plain"),
    ("x.txt", b"42", "text/plain"),
    ("x.md", b"[1]", "text/markdown"),
    ("x.jsonl", b"{}\n{}", "text/plain"),
    ("md", b"# Title", "text/plain"),
    ("x.md.txt", b"# Title", "text/plain"),
]


@pytest.mark.parametrize(("name", "body", "media_type"), REFINED)
def test_text_is_refined_by_content_and_extension(name, body, media_type):
    assert detect_type(name, body) == media_type
    for declared in (OCTETS, "text/plain", media_type):
        assert checked_type(declared, name, body) == media_type


@pytest.mark.parametrize(
    "body",
    [
        b"a,b\nc,d",
        b'a,"b, or c"\r\nc,"d\ne"\r\n',
        "größe,preis\n1,2\n".encode(),
        b"a,b,c\n" * 5000,
    ],
)
def test_a_table_without_its_extension_is_one_when_it_says_so(body):
    assert checked_type("text/csv", "export", body) == "text/csv"
    assert checked_type("text/plain", "export", body) == "text/plain"


@pytest.mark.parametrize(
    ("declared", "name", "body", "detected"),
    [
        ("application/json", "x.json", b"{", "text/plain"),
        ("text/markdown", "x.txt", b"# a", "text/plain"),
        ("text/csv", "x.md", b"a,b", "text/markdown"),
        ("text/csv", "x", b"a,b", "text/plain"),
        ("text/csv", "x", b"a,b\nc", "text/plain"),
        ("text/csv", "x", b"one\ntwo\n", "text/plain"),
        ("text/csv", "x", b'a,"b\nc,d', "text/plain"),
        ("text/csv", "x.json", b'{"a": 1}', "application/json"),
        ("text/markdown", "x.json", b"{}", "application/json"),
        ("image/png", "x.png", b"hello", "text/plain"),
        ("image/png", "x.png", b"GIF89a", "image/gif"),
        ("image/jpeg", "x.jpg", PNG, "image/png"),
        ("application/pdf", "x.pdf", WEBP, "image/webp"),
    ],
)
def test_what_is_declared_must_be_what_is_found(declared, name, body, detected):
    assert refused(declared, name, body) == {
        "message": "File content type does not match Content-Type header.",
        "detail": f'Header declared "{declared}" but file content was detected as "{detected}".',
    }


@pytest.mark.parametrize(
    ("header", "declared"),
    [
        ("", OCTETS),
        (" ", OCTETS),
        ("; charset=utf-8", OCTETS),
        ("application/octet-stream", OCTETS),
        ("text/plain; charset=utf-8", "text/plain"),
        (" TEXT/Markdown ;x=y", "text/markdown"),
    ],
)
def test_parameters_and_letter_case_of_a_declared_type_do_not_matter(header, declared):
    assert declared_type(header) == declared


@pytest.mark.parametrize(
    "header", ["text/html", "image/*", "*/*", "video/mp4", "text", "nonsense", "image/png, a/b"]
)
def test_other_declared_types_are_refused(header):
    assert refused(header, "x.txt", b"hello") == UNSUPPORTED


def test_the_types_are_sorted_and_the_cap_is_ten_mebibytes():
    assert list(ALLOWED_TYPES) == sorted(ALLOWED_TYPES)
    assert (too_large().http_status, too_large().body()) == (
        413,
        {"message": "File too large.", "detail": f"Maximum file size is {MAX_FILE_BYTES} bytes."},
    )
    assert MAX_FILE_BYTES == 10485760


# names


NAMES = {
    'attachment; filename="notes.txt"': "notes.txt",
    "attachment; filename=notes.txt": "notes.txt",
    'inline; filename="a b.txt"': "a b.txt",
    'ATTACHMENT; FileName="a.txt"': "a.txt",
    'attachment; filename="a\\"b.txt"': 'a"b.txt',
    'attachment; filename="a;b=c.txt"': "a;b=c.txt",
    "attachment; filename*=utf-8''caf%C3%A9.txt": "caf\u00e9.txt",
    "attachment; filename*=UTF-8'en'%E2%82%AC%20rates.txt": "\u20ac rates.txt",
    "attachment; filename*=iso-8859-1''caf%E9.txt": "caf\u00e9.txt",
    "attachment; filename*=utf-8''%F0%9F%98%80": "\U0001f600",
    "attachment; filename*=utf-8''%00a%0Ab.txt": "ab.txt",
    "attachment; filename*=utf-8''..%2F..%2Fetc%2Fpasswd": "passwd",
    "attachment; filename*0=long; filename*1=name.txt": "longname.txt",
    "attachment; filename*0*=utf-8''caf%C3%A9; filename*1=.txt": "caf\u00e9.txt",
    "attachment; filename=\"plain.txt\"; filename*=utf-8''%E2%82%AC.txt": "\u20ac.txt",
    "attachment; filename*=utf-8''%E2%82%AC.txt; filename=plain.txt": "\u20ac.txt",
    'attachment; filename="/etc/passwd"': "passwd",
    'attachment; filename="C:\\\\dir\\\\a.txt"': "a.txt",
    'attachment; filename="  a.txt  "': "a.txt",
}


@pytest.mark.parametrize("disposition", NAMES)
def test_the_name_is_that_of_the_header(disposition):
    assert file_name(disposition) == NAMES[disposition]


NAMELESS = [
    "",
    "attachment",
    "attachment; filename",
    "attachment; filename=",
    'attachment; filename=""',
    'attachment; filename=" \t "',
    'attachment; filename="dir/"',
    'attachment; filename="\x01\x02"',
    "attachment; filename*=utf-8''",
    "attachment; filename*=utf-8''%00%1F",
    "attachment; name=a.txt",
    "attachment; filename*=undefined''a.txt",
    "attachment; filename*0*=%00''a.txt",
    "attachment; filename*=utf-8''a.txt; filename*0*=b.txt",
    f"attachment; filename*{'9' * 5000}=a.txt",
    ";;;",
]


@pytest.mark.parametrize("disposition", NAMELESS, ids=lambda text: text[:40])
def test_without_a_name_there_is_no_file(disposition):
    with pytest.raises(ChatdError) as caught:
        file_name(disposition)
    assert caught.value.body() == {
        "message": "Filename is required.",
        "detail": "Provide a filename in the Content-Disposition header.",
    }


@pytest.mark.parametrize(
    "disposition",
    [
        "attachment; filename*=nonsense''a.txt",
        "attachment; filename*=utf-8''%ff%fe.txt",
        "attachment; filename*=a.txt",
        'attachment; filename="a\r\nX: y.txt"',
        'attachment; filename="' + "a" * 100_000,
        "attachment;" + "filename=a;" * 2000,
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_a_header_of_another_form_breaks_nothing(disposition):
    name = file_name(disposition)
    assert 0 < len(name.encode()) <= 255
    assert name.isprintable() or "\ufffd" in name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("a\x00b\x1f\x7f\x85c", "abc"),
        ("\n a.txt \n", "a.txt"),
        ("a/b\\c.txt", "c.txt"),
        ("..", ".."),
        ("/", ""),
        ("a\u202etxt.exe", "a\u202etxt.exe"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("x" * 254 + "\u00e9", "x" * 254),
        ("x" * 253 + "\u00e9", "x" * 253 + "\u00e9"),
        ("\U0001f600" * 64, "\U0001f600" * 63),
        ("\u20ac" * 86, "\u20ac" * 85),
        (" " * 300 + "a", "a"),
    ],
)
def test_a_name_has_no_control_characters_no_folders_and_at_most_255_bytes(raw, name):
    assert clean_name(raw) == name
    assert clean_name(clean_name(raw)) == name
