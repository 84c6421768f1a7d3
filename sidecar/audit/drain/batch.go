package drain

import (
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/stream"
)

// rejected is an entry that the database cannot take.
type rejected struct {
	message goredis.XMessage
	cause   error
}

// group are the entries of a batch with the same retention.
type group struct {
	days     int
	messages []goredis.XMessage
	items    []spool.Item
}

// sortOut groups messages by retention, in their order, and returns those that are malformed or belong to another namespace.
func sortOut(namespace string, messages []goredis.XMessage) (groups []*group, bad []rejected) {
	byDays := map[int]*group{}
	for _, m := range messages {
		e, err := stream.Decode(m.Values)
		if err == nil {
			err = check(namespace, e.Item)
		}
		if err != nil {
			bad = append(bad, rejected{m, err})
			continue
		}
		g := byDays[e.RetainDays]
		if g == nil {
			g = &group{days: e.RetainDays}
			byDays[e.RetainDays] = g
			groups = append(groups, g)
		}
		g.messages, g.items = append(g.messages, m), append(g.items, e.Item)
	}
	return groups, bad
}

// check refuses what the sink for the database cannot read, and what a policy of another namespace would have written: a program that may write to a
// stream is trusted with its namespace only.
func check(namespace string, i spool.Item) error {
	policy := ""
	switch i.Kind {
	case spool.Record:
		r, err := record.Decode(i.Payload)
		if err != nil {
			return err
		}
		policy = r.Policy
	case spool.Checkpoint:
		c, err := hashchain.Peek(i.Payload)
		if err != nil {
			return err
		}
		policy = c.Policy
	default:
		_, err := personal.DecodeSubjectKey(i.Payload)
		return err
	}
	if !strings.HasPrefix(policy, namespace+"/") {
		return fmt.Errorf("the policy %.128q is not of the namespace %s", policy, namespace)
	}
	return nil
}
