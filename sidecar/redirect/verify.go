package redirect

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// verify reads postern's tables back, and returns ErrMismatch where they are not exactly those that c asks for.
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
	chains, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return fmt.Errorf("reading chains back: %w", classify(err))
	}
	chains = slices.DeleteFunc(chains, func(c *nftables.Chain) bool { return c.Table.Name != tableName })
	if len(chains) != 1 || !sameChain(chains[0], newChain(table)) {
		return fmt.Errorf("%w: %d chains, or another than nat at prerouting", ErrMismatch, len(chains))
	}
	rules, err := conn.GetRules(table, chains[0])
	if err != nil {
		return fmt.Errorf("reading rules back: %w", classify(err))
	}
	want := c.rules()
	if len(rules) != len(want) {
		return fmt.Errorf("%w: %d rules, want %d", ErrMismatch, len(rules), len(want))
	}
	for i := range want {
		same, err := sameRule(byte(table.Family), rules[i].Exprs, want[i])
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%w: rule %d differs", ErrMismatch, i+1)
		}
	}
	return nil
}

func sameChain(a, b *nftables.Chain) bool {
	if a.Hooknum == nil || a.Priority == nil || a.Policy == nil {
		return false
	}
	return a.Name == b.Name && a.Type == b.Type && *a.Hooknum == *b.Hooknum && *a.Priority == *b.Priority && *a.Policy == *b.Policy
}

// sameRule compares expressions by their wire form.
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
