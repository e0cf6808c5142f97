"""A small pack in a real folder, which tests change one file of."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.packs.load import Pack, load_pack
from app.packs.problems import PackError, Problem

FILES = {
    "hospital.toml": """
code = "demo"
name = "示例医院"
time_zone = "Asia/Shanghai"

[departments]
"心外" = "胸心外科"
""",
    "catalog.csv": """\
code,name,level,department,item,hospital_grade
35.71001,房间隔缺损修补术,3,胸心外科;小儿外科,WKJDXX3.2,3.2.1
88.45001,肾动脉造影,2,心内科,XN-GM2,
37.26001+37.34001,射频消融术,4,心内科,XN-XR1-4,
""",
    "aliases.csv": "code,national_code\n35.71001,35.7100x001\n",
    "technologies.toml": """
[[technology]]
id = "T1"
name = "聚焦超声"
kind = "restricted_hospital"
grantable = true
identify = { codes = ["00.0901"] }

[[technology]]
id = "T2"
name = "造影"
kind = "key"
""",
    "staff.csv": "staff,name,department,kind\n100234,张三,胸心外科,physician\n200018,李四,麻醉科,anesthesiologist\n",
    "grants.csv": "staff,scope_type,scope,valid_from\n100234,code,35.71001,2026-01-01\n",
    "credentials.csv": "staff,technology,kind,issued_on\n100234,T1,training,2025-03-01\n",
    "volumes.csv": "staff,scope_type,scope,year,operator_cases\n100234,technology,T1,2025,40\n",
    "roster.csv": "staff,from,to\n100234,2026-11-22 17:30,2026-11-23 08:00\n",
}


class PackFolder:
    """A pack in a folder; `FILES` until a test says otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str, encoding: str = "utf-8") -> None:
        (self.path / name).write_bytes(text.encode(encoding))

    def append(self, name: str, text: str) -> None:
        self.write(name, (self.path / name).read_text(encoding="utf-8") + text)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def load(self) -> Pack:
        return load_pack(self.path)

    def problems(self) -> tuple[Problem, ...]:
        with pytest.raises(PackError) as refused:
            self.load()
        return refused.value.problems

    def problem(self) -> Problem:
        """The only problem."""
        (problem,) = self.problems()
        return problem


@pytest.fixture
def pack(tmp_path: Path) -> PackFolder:
    return PackFolder(tmp_path / "demo")
