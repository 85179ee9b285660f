"""Write the generated pages anew."""

from tests.docs import FOLDER, PAGES

for name, page in PAGES.items():
    (FOLDER / name).write_text(page(), encoding="utf-8")
    print(f"docs/{name}")
