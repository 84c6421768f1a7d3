#!/usr/bin/env bash
# Stores the secrets. Written by postern init; it has no secret, and reads them from .env.
set -euo pipefail

# The key that signs new tokens. The app never has it.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | kubectl create secret generic shop-signing --namespace shop --from-file=key.pem=/dev/stdin

# SECRET_KEY
postern init --env-file .env --name shop --print-secret legacy-secret | kubectl create secret generic shop-legacy --namespace shop --from-file=secret=/dev/stdin
