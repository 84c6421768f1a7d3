package boilerplate

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

// Variables with the URL of Redis, those of a cache first; then the prefixes of HOST, PORT, PASSWORD and so on.
var (
	redisURLs = []string{"REDIS_CACHE_URL", "REDIS_URL", "REDIS_TLS_URL", "REDIS_URI", "REDIS_DSN", "SPRING_DATA_REDIS_URL", "SPRING_REDIS_URL", "CACHE_URL", "REDISCLOUD_URL",
		"REDIS_RATE_LIMIT_URL", "RATELIMIT_STORAGE_URL", "RATELIMIT_STORAGE_URI", "RATE_LIMIT_STORAGE_URI", "REDIS_QUEUE_URL", "CELERY_BROKER_URL"}
	redisPrefixes = []string{"REDIS_CACHE_", "REDIS_", "SPRING_DATA_REDIS_", "SPRING_REDIS_", "REDIS_RATE_LIMIT_", "REDIS_QUEUE_"}
)

// readRedis takes the first server that the settings name, and reports the others.
func (t *translation) readRedis() {
	for _, key := range redisURLs {
		found, ok := t.take(key)
		if !ok {
			continue
		}
		r, err := ParseRedisURL(found.Value)
		switch {
		case err != nil && (key == "CELERY_BROKER_URL" || key == "CACHE_URL" || strings.HasPrefix(key, "RATE")):
			t.drop(found.Name, "it is no Redis: %v", err)
		case err != nil:
			t.drop(found.Name, "%v", err)
		default:
			t.useRedis(found.Name, r)
		}
	}
	for _, prefix := range redisPrefixes {
		t.readRedisParts(prefix)
	}
	if t.redis == nil {
		t.ask("The settings name no Redis. With more than one replica, sessions and counts need one: add spec.redis to the class.")
		return
	}
	for _, address := range t.redis.Addresses {
		if host, _, _ := net.SplitHostPort(address); host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1" {
			t.ask("The address of Redis is %s, which in a pod is the pod itself: write that of the Service to spec.redis.addresses.", address)
		}
	}
	if !t.redis.TLS {
		t.ask("The connection to Redis is not encrypted: add spec.redis.tls if the server has TLS.")
	}
}

// redisParts are the variables with one prefix.
type redisParts struct {
	master, sentinels, nodes, host, port, database, username, password, tls Setting
}

// readRedisParts reads HOST, PORT and so on, and what Spring has for Sentinels and Cluster.
func (t *translation) readRedisParts(prefix string) {
	get := func(keys ...string) Setting {
		for i := range keys {
			keys[i] = prefix + keys[i]
		}
		found, _ := t.settings.first(keys...)
		return found
	}
	v := redisParts{
		master: get("SENTINEL_MASTER", "MASTER_NAME", "MASTER", "SENTINEL_SERVICE_NAME", "SENTINEL_NAME"), sentinels: get("SENTINEL_NODES", "SENTINELS", "SENTINEL_HOSTS"),
		nodes: get("CLUSTER_NODES"), host: get("HOST", "HOSTNAME", "SERVER"), port: get("PORT"), database: get("DB", "DATABASE", "DB_INDEX"),
		username: get("USERNAME", "USER"), password: get("PASSWORD", "PASS", "AUTH_TOKEN", "AUTH"), tls: get("SSL", "TLS", "USE_TLS", "SSL_ENABLED", "USE_SSL"),
	}
	for _, needed := range []Setting{v.master, v.sentinels, v.nodes, v.host, v.port, v.database, v.username, v.tls} {
		if needed.Unresolved != "" {
			t.drop(needed.Name, "%s", needed.Unresolved)
			return
		}
	}
	r := &Redis{MasterName: v.master.Value, Username: v.username.Value, Password: v.password.Value, unknown: v.password.Unresolved, TLS: isTrue(v.tls.Value)}
	list, standard := v.host, cmp.Or(v.port.Value, "6379")
	switch {
	case v.sentinels.Value != "":
		r.Mode, list, standard = "Sentinel", v.sentinels, "26379"
	case v.nodes.Value != "":
		r.Mode, list, standard, v.database.Value = "Cluster", v.nodes, "6379", ""
	}
	if list.Value == "" {
		t.usePassword(v.password)
		return
	}
	err := r.hosts(strings.Trim(list.Value, "[]"), standard)
	if err == nil {
		err = r.database(v.database.Value)
	}
	if err == nil {
		err = r.complete()
	}
	if err != nil {
		t.drop(list.Name, "%v", err)
		return
	}
	r.passwordName = v.password.Name
	t.useRedis(list.Name, r)
}

// usePassword adds a password that is beside a URL without one.
func (t *translation) usePassword(password Setting) {
	switch {
	case password.Name == "" || t.redis != nil && password.Value != "" && t.redis.Password == password.Value:
	case t.redis == nil || t.redis.hasPassword():
		t.drop(password.Name, "there is no server of Redis that it belongs to, or its URL has a password already")
	default:
		t.redis.Password, t.redis.unknown = password.Value, password.Unresolved
		t.addRedisPassword(password.Name)
	}
}

func (t *translation) useRedis(name string, r *Redis) {
	if t.redis != nil && t.redis.Mode == r.Mode && slices.Equal(t.redis.Addresses, r.Addresses) {
		t.carry(name, "the same Redis")
		return
	}
	if t.redis != nil {
		t.drop(name, "a class has one Redis, and another variable names it already")
		return
	}
	t.redis = r
	t.carry(name, "spec.redis of the class, mode %s", r.Mode)
	for _, parameter := range r.Dropped {
		t.drop(name, "its parameter %s has no field. Timeouts and pools are the sidecar's, and certificates are always verified (tls.caBundle for a CA of your own)", safe(parameter))
	}
	if r.hasPassword() {
		t.addRedisPassword(cmp.Or(r.passwordName, name))
	}
}

func (t *translation) addRedisPassword(variable string) {
	t.secrets = append(t.secrets, secret{id: "redis-password", variable: variable, value: t.redis.Password, unknown: t.redis.unknown, object: "redis", key: "password"})
}

// safe returns a name as it may be printed: bounded, and without other characters than those of names.
func safe(name string) string {
	name = strings.Map(func(r rune) rune {
		if inName(r) {
			return r
		}
		return '?'
	}, name)
	return name[:min(len(name), 64)]
}
