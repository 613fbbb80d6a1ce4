"""``python -m analysis.calibration``: see analysis.calibration.measure."""

import sys

from analysis.calibration.measure import main

if __name__ == "__main__":
    sys.exit(main())
