#!/usr/bin/env bash
# Stores the secrets. Written by postern init; it has no secret, and reads them from .env.
set -euo pipefail

# The key that signs new tokens. The app never has it.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | kubectl create secret generic shop-signing --namespace shop --from-file=key.pem=/dev/stdin

# application.security.jwt.secret-key
postern init --env-file .env --name shop --print-secret legacy-secret | kubectl create secret generic shop-legacy --namespace shop --from-file=secret=/dev/stdin

# spring.data.redis.password is not in the settings: type it, and press enter.
printf '%s: ' spring.data.redis.password >&2; IFS= read -rs value; echo >&2
printf %s "$value" | kubectl create secret generic shop-redis --namespace shop --from-file=password=/dev/stdin
