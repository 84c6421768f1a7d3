package main

import (
	"slices"

	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// registry tells the core which plugins are built in. Without one that knows them, mounting panics.
type registry struct {
	factories map[consts.PluginType]map[string]logical.Factory
}

func newRegistry(secrets, auth map[string]logical.Factory) registry {
	return registry{factories: map[consts.PluginType]map[string]logical.Factory{
		consts.PluginTypeSecrets:    secrets,
		consts.PluginTypeCredential: auth,
	}}
}

// The one plugin of the database engine.
const databasePlugin = "postgresql-database-plugin"

func (r registry) Contains(name string, kind consts.PluginType) bool {
	if kind == consts.PluginTypeDatabase {
		return name == databasePlugin
	}
	_, ok := r.factories[kind][name]
	return ok
}

func (r registry) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	if kind == consts.PluginTypeDatabase {
		return postgresql.New, name == databasePlugin
	}
	factory, ok := r.factories[kind][name]
	return func() (any, error) { return factory, nil }, ok
}

func (r registry) Keys(kind consts.PluginType) []string {
	var names []string
	if kind == consts.PluginTypeDatabase {
		names = append(names, databasePlugin)
	}
	for name := range r.factories[kind] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
