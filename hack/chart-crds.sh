#!/usr/bin/env bash
# Copies what controller-gen writes into the chart: the CRDs, so that upgrades change them and an uninstallation keeps
# them, and the operator's RBAC, so that it is the markers' in the code and no more. `make generate` calls it.
#
#   hack/chart-crds.sh [FOLDER]    FOLDER is charts/postern/templates unless given
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "error: $*" >&2 && exit 1; }

readonly HEAD='{{- /* Written by hack/chart-crds.sh: change api/v1alpha1, or the markers in controllers, and run make generate. */ -}}'

# crd FILE: the CRD as a template.
crd() {
	printf '%s\n{{- if .Values.crds.install }}\n' "$HEAD"
	awk '
		{ print }
		/^  annotations:$/ && !done { print "    helm.sh/resource-policy: keep"; done = 1 }
		/^  name: / && !named {
			print "  labels: {{- include \"postern.labels\" (dict \"root\" $ \"component\" \"crds\") | nindent 4 }}"; named = 1
		}
		END { if (!done || !named) exit 1 }
	' "$1" || die "$1: metadata is not as controller-gen wrote it so far"
	printf '{{- end }}\n'
}

# roles FILE: the roles as a template, in the release's namespace.
roles() {
	printf '%s\n' "$HEAD"
	sed -e 's/^  namespace: postern-system$/  namespace: {{ .Release.Namespace }}/' \
		-e 's/^  name: postern-operator$/&\n  labels: {{- include "postern.labels" (dict "root" $ "component" "operator") | nindent 4 }}/' "$1"
}

main() {
	local to=${1:-charts/postern/templates} file
	mkdir -p "$to/crds" "$to/operator"
	rm -f "$to"/crds/*.yaml
	for file in config/crd/bases/*.yaml; do
		! grep -n '{{' "$file" || die "$file: Helm would take this for a template"
		crd "$file" >"$to/crds/$(basename "${file#*_}")"
	done
	roles config/rbac/role.yaml >"$to/operator/role.yaml"
}

main "$@"
