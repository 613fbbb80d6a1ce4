"""Build steps that pyproject.toml cannot express: conf/ as adapt/conf in wheels, adapt/RELEASE in wheels and sdists."""

import importlib.util
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("release", ROOT / "adapt" / "store" / "release.py")
release = sys.modules["release"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)


class BuildPy(build_py):
    """Build the package with conf/ and RELEASE inside it."""

    def run(self) -> None:
        """Copy the files; an editable install needs no copy, because it reads conf/ from the checkout."""
        if self.editable_mode:
            return super().run()
        built = Path(self.build_lib) / "adapt"
        shutil.rmtree(built, ignore_errors=True)  # leftovers of an earlier build must not be shipped
        shutil.rmtree(built.with_name("analysis"), ignore_errors=True)
        super().run()
        shutil.copytree(ROOT / "conf", built / "conf")
        release.write(release.of_tree(ROOT, self.distribution.get_version()), built)


class Sdist(sdist):
    """Build the sdist with the RELEASE that a wheel made from it will have."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Fill the folder that is packed."""
        super().make_release_tree(base_dir, files)
        made = Path(base_dir) / "adapt"
        (made / release.FILE).unlink(missing_ok=True)  # it may be a hard link to the one in the source tree
        release.write(release.of_tree(ROOT, self.distribution.get_version()), made)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
