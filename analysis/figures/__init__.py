"""One figure a module: ``figure(table) -> Figure``. A new module is found by ``make figures``."""
