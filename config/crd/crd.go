// Package crd holds the CustomResourceDefinitions, as generated from api/v1alpha1.
package crd

import "embed"

// Bases is the generated manifests, in the folder "bases".
//
//go:embed bases/*.yaml
var Bases embed.FS
