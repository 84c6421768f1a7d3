package inject

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
)

const (
	initContainersPath = "/spec/initContainers"
	volumesPath        = "/spec/volumes"
)

// patch returns the operations (RFC 6902) that turn original into injected. It removes and adds the sidecar's list entries by
// index, and compares only the user's entries, one by one. A comparison of the whole lists would shift them, and fields that
// the API server knows but this build does not would end up in another container.
func patch(original, injected *corev1.Pod) ([]jsonpatch.Operation, error) {
	if reflect.DeepEqual(original, injected) {
		return nil, nil
	}
	before, after := original.DeepCopy(), injected.DeepCopy()
	ops := removals(initContainersPath, before.Spec.InitContainers, isOurContainer)
	ops = append(ops, removals(volumesPath, before.Spec.Volumes, isOurVolume)...)
	before.Spec.InitContainers, _ = split(before.Spec.InitContainers, isOurContainer)
	before.Spec.Volumes, _ = split(before.Spec.Volumes, isOurVolume)

	containers, ourContainers := split(after.Spec.InitContainers, isOurContainer)
	volumes, ourVolumes := split(after.Spec.Volumes, isOurVolume)
	after.Spec.InitContainers, after.Spec.Volumes = containers, volumes
	changes, err := compare(before, after)
	if err != nil {
		return nil, err
	}
	ops = append(ops, changes...)
	ops = append(ops, additions(initContainersPath, len(containers), 0, ourContainers)...)
	return append(ops, additions(volumesPath, len(volumes), len(volumes), ourVolumes)...), nil
}

// split separates the user's entries from ours.
func split[T any](list []T, isOurs func(T) bool) (users, ours []T) {
	for _, entry := range list {
		if isOurs(entry) {
			ours = append(ours, entry)
		} else {
			users = append(users, entry)
		}
	}
	return users, ours
}

// removals removes our entries from the list, the last first, so that indices stay valid.
func removals[T any](path string, list []T, isOurs func(T) bool) []jsonpatch.Operation {
	var ops []jsonpatch.Operation
	for i, entry := range slices.Backward(list) {
		if isOurs(entry) {
			ops = append(ops, jsonpatch.NewOperation("remove", fmt.Sprintf("%s/%d", path, i), nil))
		}
	}
	return ops
}

// additions inserts our entries at index of a list that has entries, or creates the list.
func additions[T any](path string, present, index int, ours []T) []jsonpatch.Operation {
	if len(ours) == 0 {
		return nil
	}
	if present == 0 {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, ours)}
	}
	var ops []jsonpatch.Operation
	for i, entry := range ours {
		ops = append(ops, jsonpatch.NewOperation("add", fmt.Sprintf("%s/%d", path, index+i), entry))
	}
	return ops
}

func compare(before, after *corev1.Pod) ([]jsonpatch.Operation, error) {
	a, err := json.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("encoding pod: %w", err)
	}
	b, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("encoding pod: %w", err)
	}
	ops, err := jsonpatch.CreatePatch(a, b)
	if err != nil {
		return nil, fmt.Errorf("comparing pods: %w", err)
	}
	return ops, nil
}
