package main

import (
	"encoding/json"
	"fmt"
)

// kubeconfig returns a kubeconfig for one cluster and one user, as JSON, which is also YAML. All names in it are "postern".
func kubeconfig(server string, ca, cert, key []byte) ([]byte, error) {
	const name = "postern"
	type named map[string]any
	config, err := json.MarshalIndent(map[string]any{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": name,
		"clusters": []named{{"name": name, "cluster": map[string]any{
			"server": server, "certificate-authority-data": ca,
		}}},
		"users": []named{{"name": name, "user": map[string]any{
			"client-certificate-data": cert, "client-key-data": key,
		}}},
		"contexts": []named{{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding kubeconfig: %w", err)
	}
	return config, nil
}
