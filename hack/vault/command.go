package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// command is a parsed command.
type command func(ctx context.Context, s *server) error

// parseCommand parses a command's name and its arguments.
func parseCommand(args []string) (command, error) {
	if len(args) == 0 {
		return nil, errors.New("a command is required: put, write, rotate, seal or unseal")
	}
	name, args := args[0], args[1:]
	switch {
	case (name == "put" || name == "write") && len(args) > 1:
		data, err := parseData(args[1:])
		if err != nil {
			return nil, err
		}
		return map[string]func(string, map[string]any) command{"put": put, "write": write}[name](args[0], data), nil
	case name == "rotate" && len(args) == 1:
		return write("transit/keys/"+args[0]+"/rotate", nil), nil
	case name == "seal" && len(args) == 0:
		return seal, nil
	case name == "unseal" && len(args) == 0:
		return unseal, nil
	}
	return nil, fmt.Errorf("%q is no command, or has another number of arguments: "+
		"put PATH KEY=VALUE..., write PATH KEY=VALUE..., rotate KEY, seal, unseal", name)
}

// parseData reads KEY=VALUE and KEY=@FILE.
func parseData(args []string) (map[string]any, error) {
	data := map[string]any{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, errors.New("a value must be KEY=VALUE or KEY=@FILE")
		}
		if file, ok := strings.CutPrefix(value, "@"); ok {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("reading value of %s: %w", key, err)
			}
			value = string(content)
		}
		data[key] = value
	}
	return data, nil
}

// put writes a version of a KV secret. path begins with the engine's mount.
func put(path string, data map[string]any) command {
	return func(ctx context.Context, s *server) error {
		mount, name, _ := strings.Cut(path, "/")
		if _, err := s.KVv2(mount).Put(ctx, name, data); err != nil {
			return fmt.Errorf("putting %s: %w", path, err)
		}
		return nil
	}
}

func write(path string, data map[string]any) command {
	return func(ctx context.Context, s *server) error {
		if _, err := s.Logical().WriteWithContext(ctx, path, data); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		return nil
	}
}

func seal(ctx context.Context, s *server) error {
	if err := s.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	return nil
}

func unseal(ctx context.Context, s *server) error {
	key, err := s.unsealKey(ctx)
	if err != nil {
		return fmt.Errorf("reading the unseal key: %w", err)
	}
	if _, err := s.Sys().UnsealWithContext(ctx, key); err != nil {
		return fmt.Errorf("unsealing: %w", err)
	}
	return nil
}
