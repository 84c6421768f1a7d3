package boilerplate

import (
	"cmp"
	"net"
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

// readRedisParts reads HOST, PORT and so on, and what Spring has for Sentinels and Cluster.
func (t *translation) readRedisParts(prefix string) {
	get := func(keys ...string) string {
		for i := range keys {
			keys[i] = prefix + keys[i]
		}
		found, _ := t.take(keys...)
		return found.Value
	}
	r := &Redis{MasterName: get("SENTINEL_MASTER", "MASTER_NAME", "MASTER", "SENTINEL_SERVICE_NAME", "SENTINEL_NAME")}
	sentinels, nodes := get("SENTINEL_NODES", "SENTINELS", "SENTINEL_HOSTS"), get("CLUSTER_NODES", "CLUSTER")
	host, port, database := get("HOST", "HOSTNAME", "SERVER"), get("PORT"), get("DB", "DATABASE", "DB_INDEX")
	r.Username, r.Password = get("USERNAME", "USER"), get("PASSWORD", "PASS", "AUTH_TOKEN", "AUTH")
	r.TLS = isTrue(get("SSL", "TLS", "USE_TLS", "SSL_ENABLED", "USE_SSL"))
	list, standard := host, cmp.Or(port, "6379")
	switch {
	case sentinels != "":
		r.Mode, list, standard = "Sentinel", sentinels, "26379"
	case nodes != "" && strings.Contains(nodes, ":"):
		r.Mode, list, standard, database = "Cluster", nodes, "6379", ""
	}
	if list == "" {
		if r.Password != "" {
			t.usePassword(prefix, r.Password)
		}
		return
	}
	for _, step := range []func() error{
		func() error { return r.hosts(strings.Trim(list, "[]"), standard) }, func() error { return r.database(database) }, r.complete,
	} {
		if err := step(); err != nil {
			t.drop(prefix+"HOST", "%v", err)
			return
		}
	}
	t.useRedis(prefix+"HOST", r)
}

// usePassword adds a password that is beside a URL without one.
func (t *translation) usePassword(prefix, password string) {
	if t.redis == nil || t.redis.Password != "" {
		t.drop(prefix+"PASSWORD", "there is no server of Redis that it belongs to, or its URL has a password already")
		return
	}
	t.redis.Password = password
	t.addRedisPassword(prefix + "PASSWORD")
}

func (t *translation) useRedis(name string, r *Redis) {
	if t.redis != nil {
		t.drop(name, "a class has one Redis, and another variable names it already")
		return
	}
	t.redis = r
	t.carry(name, "spec.redis of the class, mode %s", r.Mode)
	for _, parameter := range r.Dropped {
		t.drop(name, "its parameter %s has no field. Timeouts and pools are the sidecar's, and certificates are always verified (tls.caBundle for a CA of your own)", safe(parameter))
	}
	if r.Password != "" {
		t.addRedisPassword(name)
	}
}

func (t *translation) addRedisPassword(variable string) {
	t.secrets = append(t.secrets, secret{id: "redis-password", variable: variable, value: t.redis.Password, object: "redis", key: "password"})
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
