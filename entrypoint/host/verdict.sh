#!/usr/bin/env bash
# Step 6: ends the action with the verdict. Only a plain `0` is a pass.
set -euo pipefail

case ${MODEL_EVAL_EXIT_CODE:-} in
    0) exit 0 ;;
    1 | 2 | 3) exit "$MODEL_EVAL_EXIT_CODE" ;;
    4) exit 4 ;;
    *)
        echo "::error title=model-eval::there is no verdict; look at the steps above"
        exit 4
        ;;
esac
