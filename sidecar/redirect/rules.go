package redirect

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	tableName = "postern"
	chainName = "prerouting"
	// register is nftables' first register, which every rule here uses.
	register = 1
	// destinationPort and portSize say where a TCP header has its destination port, RFC 9293 §3.1.
	destinationPort, portSize = 2, 2
)

// add queues the table of family on conn.
func (c Config) add(conn *nftables.Conn, family nftables.TableFamily) {
	table := conn.AddTable(&nftables.Table{Name: tableName, Family: family})
	chain := conn.AddChain(newChain(table))
	for _, exprs := range c.rules() {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
}

// newChain is `type nat hook prerouting priority dstnat; policy accept`.
func newChain(table *nftables.Table) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: chainName, Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest, Policy: &accept,
	}
}

// rules are the chain's rules in order:
//
//	iifname "lo" return
//	meta l4proto != tcp return
//	th dport 15991 return    # the admin port, and each excluded one
//	redirect to :15990
func (c Config) rules() [][]expr.Any {
	rules := [][]expr.Any{
		{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register},
			&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: interfaceName("lo")},
			&expr.Verdict{Kind: expr.VerdictReturn},
		},
		{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Verdict{Kind: expr.VerdictReturn},
		},
	}
	left := append([]uint16{c.AdminPort}, c.ExcludedPorts...)
	slices.Sort(left)
	for _, port := range slices.Compact(left) {
		rules = append(rules, []expr.Any{
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: portSize},
			&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binary.BigEndian.AppendUint16(nil, port)},
			&expr.Verdict{Kind: expr.VerdictReturn},
		})
	}
	return append(rules, []expr.Any{
		&expr.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, c.InboundPort)},
		// The last two are what the kernel would add; said here, they read back the same from every kernel.
		&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	})
}

// interfaceName is name as the kernel compares it: padded with zeros.
func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
