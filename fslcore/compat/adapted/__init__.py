# SPDX-License-Identifier: MIT
"""What has other arguments or results in this package, in the form that keras-fsl gave it."""
