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
	// register is the first register of nftables, which every rule here uses.
	register = 1
	// destinationPort and portSize locate the destination port in a TCP header, RFC 9293 §3.1.
	destinationPort, portSize = 2, 2
	// replyDirection is IP_CT_DIR_REPLY (linux/netfilter/nf_conntrack_tuple_common.h).
	replyDirection = 1
	// rulesPort is sockets.RulesPort: the sidecar connects to it to find out whether the rules exist.
	rulesPort = 15993
)

// chain is one of the table's chains with its rules in order.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    [][]expr.Any
}

// chains returns the chains, which are in nft's syntax:
//
//	chain prerouting {
//		type nat hook prerouting priority dstnat; policy accept;
//		iifname "lo" return
//		meta l4proto != tcp return
//		th dport 15991 return    # the admin port, and each excluded one
//		redirect to :15990
//	}
//	chain input {
//		type filter hook input priority filter; policy accept;
//		…                        # the same except the last
//		th dport 15990 return
//		ct direction reply return
//		drop
//	}
//
//	chain output {
//		type nat hook output priority dstnat; policy accept;
//		oifname != "lo" return
//		meta l4proto != tcp return
//		th dport != 15993 return # rulesPort
//		redirect to :15991
//	}
//
// The second chain exists because NAT is not a filter: a packet that connection tracking finds invalid passes the first chain
// unchanged, and a client that can craft packets might complete a handshake with the app by such packets alone. The third lets the
// sidecar notice that the table was deleted; see sockets.RulesExist.
func (c Config) chains() []chain {
	alone := append([][]expr.Any{
		returnIf(meta(expr.MetaKeyIIFNAME), expr.CmpOpEq, interfaceName("lo")),
		returnIf(meta(expr.MetaKeyL4PROTO), expr.CmpOpNeq, []byte{unix.IPPROTO_TCP}),
	}, c.leftPorts()...)
	guard := [][]expr.Any{
		returnIf(tcpPort(), expr.CmpOpEq, port(c.InboundPort)),
		returnIf(&expr.Ct{Key: expr.CtKeyDIRECTION, Register: register}, expr.CmpOpEq, []byte{replyDirection}),
		{&expr.Verdict{Kind: expr.VerdictDrop}},
	}
	lost := [][]expr.Any{
		returnIf(meta(expr.MetaKeyOIFNAME), expr.CmpOpNeq, interfaceName("lo")),
		returnIf(meta(expr.MetaKeyL4PROTO), expr.CmpOpNeq, []byte{unix.IPPROTO_TCP}),
		returnIf(tcpPort(), expr.CmpOpNeq, port(rulesPort)),
		redirectTo(c.AdminPort),
	}
	return []chain{
		{"prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, slices.Concat(alone, [][]expr.Any{redirectTo(c.InboundPort)})},
		{"input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, slices.Concat(alone, guard)},
		{"output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, lost},
	}
}

// redirectTo returns a rule that redirects to a port of the pod.
func redirectTo(target uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: port(target)},
		// The kernel would add the last two itself. They are explicit so that every kernel returns the same rules.
		&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	}
}

// leftPorts returns the rules for the ports that are not redirected.
func (c Config) leftPorts() [][]expr.Any {
	ports := append([]uint16{c.AdminPort}, c.ExcludedPorts...)
	slices.Sort(ports)
	var rules [][]expr.Any
	for _, p := range slices.Compact(ports) {
		rules = append(rules, returnIf(tcpPort(), expr.CmpOpEq, port(p)))
	}
	return rules
}

// add queues the table of family on conn.
func (c Config) add(conn *nftables.Conn, family nftables.TableFamily) {
	table := conn.AddTable(&nftables.Table{Name: tableName, Family: family})
	accept := nftables.ChainPolicyAccept
	for _, want := range c.chains() {
		added := conn.AddChain(&nftables.Chain{
			Name: want.name, Table: table, Type: want.kind, Hooknum: want.hook, Priority: want.priority, Policy: &accept,
		})
		for _, exprs := range want.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: added, Exprs: exprs})
		}
	}
}

// returnIf returns a rule that leaves the chain if the value that load puts into the register compares with data.
func returnIf(load expr.Any, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{load, &expr.Cmp{Op: op, Register: register, Data: data}, &expr.Verdict{Kind: expr.VerdictReturn}}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: register} }

func tcpPort() expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: portSize}
}

func port(number uint16) []byte { return binary.BigEndian.AppendUint16(nil, number) }

// interfaceName returns name as the kernel compares it: padded with zeros.
func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
