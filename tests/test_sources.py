from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from segexp.data import sources
from segexp.data.sources import Located, fetch, find_file, read_sha256
from segexp.errors import DataError

NAME = "shop/customers.csv"
CONTENT = b"ID,Age\n1,20\n2,30\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FAILURES = {
    "wrong": "wrong content",
    "gone": "HTTP 404",
    "cut": "the connection was cut",
    "silent": "the connection failed",
}


class Publisher(ThreadingHTTPServer):
    """A server on this machine whose pages are named after what goes wrong with them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.asked: list[str] = []
        self.closing = threading.Event()

    def url(self, page: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{page}"


class Page(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        page = self.path.strip("/")
        self.server.asked.append(page)
        if page == "gone":
            self.send_error(404)
        elif page == "slow":
            self.server.closing.wait()
        elif page != "silent":
            sent = b"<html>moved</html>" if page == "wrong" else CONTENT
            self.send_response(200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent[: len(sent) // 2] if page == "cut" else sent)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SEGEXP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("SEGEXP_DATA_DIR", raising=False)
    monkeypatch.delenv("SEGEXP_OFFLINE", raising=False)


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """Where the cache keeps the file; nothing is there yet."""
    return tmp_path / "cache" / "data" / NAME


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kept"
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(folder))
    return folder


def published(*urls: str) -> dict[str, Any]:
    return {"sha256": SHA256, "urls": list(urls)}


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def error_of(path: str, downloads: dict[str, Any]) -> str:
    with pytest.raises(DataError) as error:
        find_file(path, downloads, "shop")
    assert "\n" not in str(error.value)
    return str(error.value)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# A file of the user


def test_a_relative_path_starts_in_the_working_directory(tmp_path: Path) -> None:
    file = write(tmp_path / "work" / "mine.csv")
    assert find_file("mine.csv", {}, "mine") == Located(file, "given", None)


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.csv")
    assert find_file(str(file), {}, "mine").path == file


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file = write(tmp_path / "mine.csv")
    assert find_file("~/mine.csv", {}, "mine").path == file


def test_a_relative_path_is_also_looked_up_in_the_data_dir(data_dir: Path) -> None:
    file = write(data_dir / "mine.csv")
    assert find_file("mine.csv", {}, "mine").path == file


def test_the_working_directory_wins_over_the_data_dir(tmp_path: Path, data_dir: Path) -> None:
    write(data_dir / "mine.csv")
    file = write(tmp_path / "work" / "mine.csv")
    assert find_file("mine.csv", {}, "mine").path == file


def test_a_missing_file_names_the_data_set_and_every_place(tmp_path: Path, data_dir: Path) -> None:
    message = error_of("mine.csv", {})
    assert "dataset 'shop'" in message
    assert str(tmp_path / "work" / "mine.csv") in message
    assert f"{data_dir / 'mine.csv'}, whose folder does not exist" in message


def test_a_misspelt_file_is_guessed(tmp_path: Path) -> None:
    write(tmp_path / "work" / "tables" / "Train.csv")
    assert "did you mean 'Train.csv'?" in error_of("tables/Trian.csv", {})


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    write(tmp_path / "work" / "tables" / "Train.csv")
    assert "'tables' is a folder" in error_of("tables", {})


def test_a_name_that_is_too_long_is_one_line() -> None:
    assert "cannot be reached" in error_of("x" * 5000, {})


# A public file that is here


def test_the_data_dir_wins_over_the_cache(data_dir: Path, cached: Path) -> None:
    write(cached)
    file = write(data_dir / NAME)
    found = find_file(NAME, {NAME: published("http://127.0.0.1:1/")}, "shop")
    assert found == Located(file, "data_dir", True)


def test_a_changed_file_in_the_data_dir_is_used_and_reported(data_dir: Path) -> None:
    file = write(data_dir / NAME, b"my own rows")
    found = find_file(NAME, {NAME: published("http://127.0.0.1:1/")}, "shop")
    assert found == Located(file, "data_dir", False)


def test_a_folder_in_the_data_dir_is_not_a_file(data_dir: Path) -> None:
    (data_dir / NAME).mkdir(parents=True)
    assert "is a folder" in error_of(NAME, {NAME: published("http://127.0.0.1:1/")})


def test_a_cached_file_is_used_without_a_request(publisher: Publisher, cached: Path) -> None:
    write(cached)
    found = find_file(NAME, {NAME: published(publisher.url("good"))}, "shop")
    assert found == Located(cached, "cache", True)
    assert publisher.asked == []


# Downloads


def test_a_file_that_is_nowhere_is_downloaded(publisher: Publisher, cached: Path) -> None:
    found = find_file(NAME, {NAME: published(publisher.url("good"))}, "shop")
    assert found == Located(cached, "download", True)
    assert cached.read_bytes() == CONTENT


def test_a_download_leaves_one_file(publisher: Publisher, tmp_path: Path, cached: Path) -> None:
    fetch(NAME, published(publisher.url("good")), "shop")
    assert files_below(tmp_path / "cache") == [cached]
    assert list(cached.parent.iterdir()) == [cached]


def test_a_damaged_cached_file_is_fetched_again(publisher: Publisher, cached: Path) -> None:
    write(cached, CONTENT[:100])
    found = find_file(NAME, {NAME: published(publisher.url("good"))}, "shop")
    assert found.origin == "download"
    assert cached.read_bytes() == CONTENT


@pytest.mark.parametrize("page", FAILURES)
def test_a_failed_download_says_why(publisher: Publisher, page: str) -> None:
    message = error_of(NAME, {NAME: published(publisher.url(page))})
    assert f"127.0.0.1:{publisher.server_port}: {FAILURES[page]}" in message


@pytest.mark.parametrize("page", FAILURES)
def test_a_failed_download_leaves_nothing(publisher: Publisher, tmp_path: Path, page: str) -> None:
    error_of(NAME, {NAME: published(publisher.url(page))})
    assert files_below(tmp_path / "cache") == []


@pytest.mark.parametrize("page", FAILURES)
def test_a_mirror_takes_over(publisher: Publisher, cached: Path, page: str) -> None:
    urls = [publisher.url(page), publisher.url("good")]
    assert fetch(NAME, published(*urls), "shop") == cached
    assert publisher.asked == [page, "good"]
    assert cached.read_bytes() == CONTENT


def test_a_server_that_does_not_answer_is_given_up(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.2)
    assert "no answer within" in error_of(NAME, {NAME: published(publisher.url("slow"))})
    assert files_below(tmp_path / "cache") == []


def test_a_failed_download_keeps_the_intact_copy(publisher: Publisher, cached: Path) -> None:
    write(cached)
    with pytest.raises(DataError):
        fetch(NAME, published(publisher.url("cut")), "shop", force=True)
    assert cached.read_bytes() == CONTENT


def test_without_a_network_the_error_says_how_to_get_the_file(cached: Path) -> None:
    message = error_of(NAME, {NAME: published("http://127.0.0.1:1/a", "http://127.0.0.1:1/b")})
    assert "127.0.0.1:1: the connection failed at 2 addresses" in message
    assert f"set SEGEXP_DATA_DIR to a folder that holds {NAME}" in message
    assert f"download http://127.0.0.1:1/a to {cached}" in message


def test_offline_nothing_is_asked_for(
    publisher: Publisher, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGEXP_OFFLINE", "1")
    url = publisher.url("good")
    message = error_of(NAME, {NAME: published(url)})
    assert "is not on this machine, and SEGEXP_OFFLINE forbids a download" in message
    assert f"download {url} to {cached}" in message
    assert publisher.asked == []


def test_offline_a_damaged_copy_is_called_damaged(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGEXP_OFFLINE", "1")
    write(cached, b"half")
    message = error_of(NAME, {NAME: published("http://127.0.0.1:1/")})
    assert "is damaged in the cache" in message


def test_a_cache_that_cannot_be_written_names_the_variable(
    publisher: Publisher, tmp_path: Path
) -> None:
    write(tmp_path / "cache", b"a file where the folder should be")
    message = error_of(NAME, {NAME: published(publisher.url("good"))})
    assert "cannot be written to the cache" in message
    assert "SEGEXP_CACHE_DIR" in message


def test_a_data_dir_without_the_file_is_named(data_dir: Path) -> None:
    message = error_of(NAME, {NAME: published("http://127.0.0.1:1/")})
    assert f"SEGEXP_DATA_DIR (now {data_dir})" in message


def test_fetch_uses_the_copy_that_is_there(publisher: Publisher, cached: Path) -> None:
    write(cached)
    assert fetch(NAME, published(publisher.url("good")), "shop") == cached
    assert publisher.asked == []


def test_fetch_downloads_again_by_force(publisher: Publisher, cached: Path) -> None:
    write(cached)
    fetch(NAME, published(publisher.url("good")), "shop", force=True)
    assert publisher.asked == ["good"]


def test_every_attempt_is_announced(publisher: Publisher) -> None:
    urls = [publisher.url("gone"), publisher.url("good")]
    lines: list[str] = []
    fetch(NAME, published(*urls), "shop", progress=lines.append)
    assert lines == [f"downloading {NAME} from {url}" for url in urls]


def test_upper_case_checksums_are_the_same(publisher: Publisher) -> None:
    entry = {"sha256": SHA256.upper(), "urls": [publisher.url("good")]}
    assert find_file(NAME, {NAME: entry}, "shop").sha256_ok


# Entries that are refused


@pytest.mark.parametrize(
    "path",
    ["../x.csv", "shop/../../x.csv", "/etc/x.csv", "..\\x.csv", "C:\\x.csv", "C:x.csv", "", "."],
)
def test_a_download_stays_in_the_cache(path: str) -> None:
    assert "outside the cache" in error_of(path, {path: published("http://127.0.0.1:1/")})


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "/etc/hosts", "sftp://host/x", "http://", "http://[", 3, None]
)
def test_only_web_addresses_are_accepted(url: Any) -> None:
    message = error_of(NAME, {NAME: published("http://127.0.0.1:1/", url)})
    assert f"http, https and ftp addresses only, got {url!r}" in message


@pytest.mark.parametrize("urls", [None, [], "http://127.0.0.1:1/"])
def test_addresses_are_a_list(urls: Any) -> None:
    assert "must be a list" in error_of(NAME, {NAME: {"sha256": SHA256, "urls": urls}})


@pytest.mark.parametrize("sha256", [None, "", "abc", "g" * 64, 12])
def test_a_checksum_is_64_hexadecimal_digits(sha256: Any) -> None:
    message = error_of(NAME, {NAME: {"sha256": sha256, "urls": ["http://127.0.0.1:1/"]}})
    assert f"must be 64 hexadecimal digits, got {sha256!r}" in message


# Checksums


def test_read_sha256_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    assert read_sha256(write(tmp_path / "x")) == SHA256


def test_a_file_that_cannot_be_read_has_no_checksum(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_sha256(tmp_path / "missing")
