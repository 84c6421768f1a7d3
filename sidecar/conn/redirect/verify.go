package redirect

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// verify reads postern's tables back. It returns ErrMismatch unless they are exactly those that c requests.
func (c Config) verify(conn *nftables.Conn, families []nftables.TableFamily) error {
	tables, err := conn.ListTables()
	if err != nil {
		return fmt.Errorf("reading tables back: %w", classify(err))
	}
	own := slices.DeleteFunc(tables, func(t *nftables.Table) bool { return t.Name != tableName })
	if len(own) != len(families) {
		return fmt.Errorf("%w: %d tables, want %d", ErrMismatch, len(own), len(families))
	}
	for _, table := range own {
		if !slices.Contains(families, table.Family) {
			return fmt.Errorf("%w: a table of family %d", ErrMismatch, table.Family)
		}
		if table.Flags != 0 {
			return fmt.Errorf("%w: a table with flags %#x (dormant?)", ErrMismatch, table.Flags)
		}
		if err := c.verifyTable(conn, table); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) verifyTable(conn *nftables.Conn, table *nftables.Table) error {
	got, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return fmt.Errorf("reading chains back: %w", classify(err))
	}
	got = slices.DeleteFunc(got, func(c *nftables.Chain) bool { return c.Table.Name != tableName })
	want := c.chains()
	if len(got) != len(want) {
		return fmt.Errorf("%w: %d chains, want %d", ErrMismatch, len(got), len(want))
	}
	for _, w := range want {
		i := slices.IndexFunc(got, func(c *nftables.Chain) bool { return w.is(c) })
		if i < 0 {
			return fmt.Errorf("%w: chain %s is missing or at another hook", ErrMismatch, w.name)
		}
		if err := w.verifyRules(conn, table, got[i]); err != nil {
			return err
		}
	}
	return nil
}

// is reports whether got equals c, apart from the rules.
func (c chain) is(got *nftables.Chain) bool {
	if got.Hooknum == nil || got.Priority == nil || got.Policy == nil {
		return false
	}
	return got.Name == c.name && got.Type == c.kind && *got.Hooknum == *c.hook && *got.Priority == *c.priority &&
		*got.Policy == nftables.ChainPolicyAccept
}

func (c chain) verifyRules(conn *nftables.Conn, table *nftables.Table, got *nftables.Chain) error {
	rules, err := conn.GetRules(table, got)
	if err != nil {
		return fmt.Errorf("reading rules back: %w", classify(err))
	}
	if len(rules) != len(c.rules) {
		return fmt.Errorf("%w: chain %s has %d rules, want %d", ErrMismatch, c.name, len(rules), len(c.rules))
	}
	for i, want := range c.rules {
		same, err := sameRule(byte(table.Family), rules[i].Exprs, want)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%w: rule %d of chain %s differs", ErrMismatch, i+1, c.name)
		}
	}
	return nil
}

// sameRule compares expressions by their wire format.
func sameRule(family byte, a, b []expr.Any) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		wireA, err := expr.Marshal(family, a[i])
		if err != nil {
			return false, fmt.Errorf("encoding expression: %w", err)
		}
		wireB, err := expr.Marshal(family, b[i])
		if err != nil {
			return false, fmt.Errorf("encoding expression: %w", err)
		}
		if !bytes.Equal(wireA, wireB) {
			return false, nil
		}
	}
	return true, nil
}
