package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/helper/namespace"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// write is one that is carried out at the start, as `vault write` does.
type write struct {
	Path string         `json:"path"`
	Data map[string]any `json:"data"`
}

// initialise carries out the writes that file lists, in their order; the first that fails ends it.
func initialise(ctx context.Context, core *vault.Core, rootToken, file string) error {
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer content.Close()
	writes, err := parseWrites(content)
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	for i, w := range writes {
		if err := w.carryOut(ctx, core, rootToken); err != nil {
			return fmt.Errorf("write %d, to %s: %w", i+1, w.Path, err)
		}
	}
	return nil
}

// parseWrites reads the list. A field that nobody knows is an error, for it is one that was meant to do something.
func parseWrites(from io.Reader) (writes []write, err error) {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(&writes); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the list")
	}
	for i, w := range writes {
		if w.Path == "" || strings.HasPrefix(w.Path, "/") {
			return nil, fmt.Errorf("write %d: a path is needed, without a slash before it", i+1)
		}
	}
	return writes, nil
}

// upgrading is what a KV engine answers in the moment after it was mounted.
const upgrading, upgradeTime = "Upgrading from non-versioned to versioned", 10 * time.Second

func (w write) carryOut(ctx context.Context, core *vault.Core, rootToken string) error {
	for deadline := time.Now().Add(upgradeTime); ; time.Sleep(20 * time.Millisecond) {
		response, err := core.HandleRequest(namespace.RootContext(ctx), &logical.Request{
			Operation: logical.UpdateOperation, ClientToken: rootToken, Path: w.Path, Data: w.Data,
		})
		// The response says more than the error does.
		if response != nil && response.IsError() {
			err = response.Error()
		}
		if err == nil || !strings.Contains(err.Error(), upgrading) || time.Now().After(deadline) {
			return err
		}
	}
}
