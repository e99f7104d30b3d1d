"""What looks like a secret is found, what people write every day is not, and jobs get no credentials."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import secret_files
from cluster.secrecy import secret_in, without_credentials
from cluster.secret_files import secrets_on

SECRETS = {
    "key id": "AKIAIOSFODNN7EXAMPLE",
    "session's key id": "ASIA234567ABCDEFGHIJ",
    "key": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "exported": "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI",
    "token": "AWS_SESSION_TOKEN='IQoJb3JpZ2luX2VjE'",
    "ssh": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "pem": "-----BEGIN PRIVATE KEY-----",
    "putty": "PuTTY-User-Key-File-3: ssh-ed25519",
    "password": "password=hunter22",
    "yaml": "Password: hunter22",
    "json": '{"token": "hunter22"}',
    "slack": "https://hooks.slack.com/services/T00000000/B00000000/xxxx",
    "discord": "https://discord.com/api/webhooks/1234/abc",
    "teams": "https://lab.webhook.office.com/webhookb2/3f2a@7b",
    "telegram": "curl https://api.telegram.org/bot123:abc/sendMessage",
    "user": "https://me:hunter22@ntfy.example/raypipe",
    "token as user": "https://ghx1234@github.example/raypipe",
    "database": "postgresql://me:hunter22@db/raypipe",
    "query": "https://ntfy.example/raypipe?auth=c2VjcmV0",
    "signature": "https://my-bucket.s3.amazonaws.com/x?X-Amz-Credential=a&X-Amz-Signature=0123",
    "path": "https://ntfy.example/hook/AbCdEfGhIj0123456789kLmN",
    "github": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "slack's token": "xoxb-123456789012-abcdef",
    "bearer": "curl -H 'Authorization: Bearer c2VjcmV0IG9mIG1pbmU0' https://ntfy.example/raypipe",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
}
INNOCENT = [
    "https://ntfy.example/raypipe",
    "https://ntfy.example:8443/lab/raypipe?priority=high&tags=brain",
    "arn:aws:sns:ap-southeast-1:123456789012:raypipe",
    "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:munge-AbCdEf",
    "snap-0123456789abcdef0",
    "s3://my-bucket/raypipe/raypipe_ephys-0.1.0-py3-none-any.whl",
    "/data/picasso/20181105/session01/array01/channel009/rpllfp_6eca.hkl",
    "/home/me/.ssh/id_ed25519.pub",
    "mail -s raypipe me@example.org",
    "curl -H \"Authorization: Bearer $TOKEN\" https://ntfy.example/raypipe",
    "https://ntfy.example/raypipe?token=$TOKEN",
    "export MY_TOKEN=$(cat /home/me/.token)",
    "export RAY_AUTH_TOKEN_PATH=/data/run/token",
    "password: ssm:/raypipe/password",
    "git+ssh://git@github.com/lab/tools",
    "pip install git+https://github.com/lab/tools@0123456789abcdef0123456789abcdef01234567",
    "https://repo.anaconda.com/miniconda/Miniconda3-py311_23.10.0-1-Linux-x86_64.sh",
    "PasswordSecretArn: arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:x",
    "HttpTokens: required",
    "KeyName: my-key  # the key itself stays with you; its passphrase, too",
    "ssm:/raypipe/hook",
    "file:~/.raypipe-hook",
    "dynamic&r5.2xlarge",
    "module load python/3.11; ulimit -c 0",
]  # fmt: skip


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_found(text: str) -> None:
    kind = secret_in(text)
    assert kind is not None
    assert text not in kind


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_is_not(text: str) -> None:
    assert secret_in(text) is None


@given(
    st.sampled_from(list(SECRETS.values())), st.text("abc ,;()[]\n", max_size=30), st.text("abc ,;()[]\n", max_size=30)
)
def test_it_is_found_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert secret_in(f"{before} {secret} {after}") is not None


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=24)
paths = st.lists(names, min_size=1, max_size=6).map("/".join)
ids = st.tuples(st.sampled_from(["snap", "vol", "i", "subnet", "sg", "ami"]), st.integers(0, 16**17 - 1)).map(
    lambda pair: f"{pair[0]}-{pair[1]:017x}"
)


@given(
    st.one_of(
        paths.map("/{}".format), ids, paths.map("https://ntfy.example/{}".format), paths.map("s3://bucket/{}".format)
    )
)
def test_paths_ids_and_plain_urls_raise_no_alarm(text: str) -> None:
    assert secret_in(text) is None


def test_credentials_are_left_out_of_an_environment_by_name_or_by_what_they_say() -> None:
    kept = {
        "PATH": "/usr/bin", "HOME": "/home/me", "LANG": "C.UTF-8", "PWD": "/data", "OLDPWD": "/", "MODULEPATH": "/modules",
        "AWS_REGION": "ap-southeast-1", "AWS_DEFAULT_REGION": "ap-southeast-1", "AWS_PROFILE": "lab",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:5000", "AWS_SHARED_CREDENTIALS_FILE": "/home/me/.aws/credentials",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token", "RAY_AUTH_TOKEN_PATH": "/data/run/token",
        "HTTPS_PROXY": "http://me:hunter22@proxy.example:3128", "no_proxy": "127.0.0.1",
        "TOKENIZERS_PARALLELISM": "false", "KRB5CCNAME": "FILE:/tmp/krb5cc_1000", "RAYPIPE_CACHE_DIR": "/data/cache",
        "BASH_FUNC_ml%%": "() { token=longenough; }",
    }  # fmt: skip
    credentials = {
        "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_SESSION_TOKEN": "x", "GH_TOKEN": "x",
        "AWS_SECURITY_TOKEN": "x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "x", "PGPASSWORD": "x", "MYSQL_PWD": "x",
        "SSH_AUTH_SOCK": "/tmp/agent", "RAY_AUTH_TOKEN": "x", "OPENAI_API_KEY": "x", "MY_SECRET": "x", "db_password": "x",
        "DATABASE_URL": "postgresql://me:hunter22@db/lab", "HOOK": SECRETS["slack"], "OTHER": SECRETS["key id"],
    }  # fmt: skip
    assert without_credentials(kept | credentials) == kept


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with keys and what only looks like them."""
    files = {
        "lab.pem": "-----BEGIN RSA PRIVATE KEY-----\nx",
        "home/me/.ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\nx",
        "home/me/.ssh/id_ed25519.pub": "ssh-ed25519 AAAA",
        "home/me/.aws/credentials": "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n",
        "home/me/.netrc": "machine a login b password c",
        "tools/key.ppk": "PuTTY-User-Key-File-3: ssh-ed25519",
        "certificate.pem": "-----BEGIN CERTIFICATE-----\nx",
        "id_rsa_empty": "",
        "large.pem": "-----BEGIN RSA PRIVATE KEY-----\n" + "x" * (64 << 10),
        "notes.txt": "-----BEGIN RSA PRIVATE KEY-----\n",
        "picasso/20181105/session01/lost.pem": "-----BEGIN RSA PRIVATE KEY-----\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link.pem").symlink_to(tmp_path / "lab.pem")
    (tmp_path / "loop").symlink_to(tmp_path)
    return tmp_path


def test_keys_on_a_volume_are_found_and_nothing_else(volume: Path) -> None:
    found = [str(path.relative_to(volume)) for path in secrets_on(volume)]
    assert sorted(found) == [
        "home/me/.aws/credentials", "home/me/.netrc", "home/me/.ssh/id_ed25519", "lab.pem", "tools/key.ppk",
    ]  # fmt: skip
    assert secrets_on(volume / "nowhere") == []
    assert secrets_on(volume, seconds=0.0) == []


def test_only_small_files_with_such_names_are_opened(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = Path.read_text

    def noted(path: Path, *arguments: object, **others: str) -> str:
        opened.append(path.name)
        return read(path, **others)

    monkeypatch.setattr(secret_files.Path, "read_text", noted)
    secrets_on(volume)
    assert sorted(opened) == ["certificate.pem", "credentials", "id_ed25519", "key.ppk", "lab.pem"]


def test_no_file_of_ours_looks_like_a_secret() -> None:
    root = Path(__file__).resolve().parents[2]
    ours = [*root.glob("cluster/*.sh"), *root.glob("cluster/*.toml"), root / "constraints.txt"]
    found = [path.name for path in ours for line in path.read_text().splitlines() if secret_in(line)]
    assert ours
    assert found == []
