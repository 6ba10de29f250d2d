#!/bin/sh
# Everything that a GPU is asked, in one command of at most nine minutes: see gpu_day.py beside this file.
#
#     experiments/gpu_day.sh --data gpu_day.h5 --output nbs/results/gpu.json
#     experiments/gpu_day.sh --device cpu --rehearse --output rehearsed.json
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_day.py" run "$@"
