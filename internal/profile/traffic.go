// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Protocol is a protocol on top of IP.
type Protocol string

const (
	// TCP has ports.
	TCP Protocol = "TCP"
	// UDP has ports.
	UDP Protocol = "UDP"
	// SCTP has ports.
	SCTP Protocol = "SCTP"
	// ICMP has types and codes, and is only for IPv4.
	ICMP Protocol = "ICMP"
	// ICMPv6 has types and codes, and is only for IPv6.
	ICMPv6 Protocol = "ICMPv6"
	// IP is a protocol identified by a number, such as 4, IP-in-IP.
	IP Protocol = "IP"
)

// protocols are the names of the protocols in the text of Traffic.
var protocols = map[string]Protocol{"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": ICMP, "icmpv6": ICMPv6, "ip": IP}

// namedProtocols are the protocols with a name, by number (the IANA registry of protocol
// numbers).
var namedProtocols = map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}

// Traffic is a kind of traffic: a protocol, with the destination ports or the type of
// message if the protocol has such. The zero value is all traffic.
//
// As text, traffic is "all", "tcp", "tcp/443", "udp/30000-32767", "icmp/8" (a type),
// "icmpv6/1/4" (a type and a code) or "ip/112" (a protocol number).
type Traffic struct {
	// Protocol of the traffic; empty for every protocol.
	Protocol Protocol
	// First and Last are the range of ports for TCP, UDP and SCTP. Both are 0 for every
	// port.
	First, Last uint16
	// Number is the type of message for ICMP and ICMPv6, and the protocol's number for
	// IP.
	Number uint8
	// Code of the message for ICMP and ICMPv6, if HasCode is set; otherwise every code
	// of the type.
	Code    uint8
	HasCode bool
}

// ParseTraffic reads the text of Traffic.
func ParseTraffic(text string) (Traffic, error) {
	if text == "all" {
		return Traffic{}, nil
	}
	name, rest, hasRest := strings.Cut(text, "/")
	t := Traffic{Protocol: protocols[name]}
	var ok bool
	switch t.Protocol {
	case TCP, UDP, SCTP:
		if ok = !hasRest; hasRest {
			t.First, t.Last, ok = parsePorts(rest)
		}
	case ICMP, ICMPv6:
		ok = t.parseMessage(rest)
	case IP:
		t.Number, ok = parseByte(rest)
		if own, has := namedProtocols[t.Number]; ok && has {
			return Traffic{}, fmt.Errorf("%q has a name of its own: write %s", text, own)
		}
	}
	if !ok {
		return Traffic{}, fmt.Errorf("%q is no traffic: write all, tcp, tcp/443 or tcp/30000-32767 (likewise udp and sctp), "+
			"icmp/8 or icmp/3/4 (likewise icmpv6), or ip/112", text)
	}
	return t, nil
}

// parseMessage reads the type of a message, and the code if there is one.
func (t *Traffic) parseMessage(text string) (ok bool) {
	number, code, hasCode := strings.Cut(text, "/")
	if t.Number, ok = parseByte(number); ok && hasCode {
		t.HasCode = true
		t.Code, ok = parseByte(code)
	}
	return ok
}

func parsePorts(text string) (first, last uint16, ok bool) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	a, errFirst := strconv.ParseUint(from, 10, 16)
	b, errLast := strconv.ParseUint(to, 10, 16)
	return uint16(a), uint16(b), errFirst == nil && errLast == nil && 0 < a && a <= b
}

func parseByte(text string) (uint8, bool) {
	n, err := strconv.ParseUint(text, 10, 8)
	return uint8(n), err == nil
}

// String returns the traffic as text.
func (t Traffic) String() string {
	if t.Protocol == "" {
		return "all"
	}
	name := strings.ToLower(string(t.Protocol))
	switch {
	case t.HasPorts() && t.First == 0:
		return name
	case t.HasPorts() && t.First == t.Last:
		return fmt.Sprintf("%s/%d", name, t.First)
	case t.HasPorts():
		return fmt.Sprintf("%s/%d-%d", name, t.First, t.Last)
	case t.HasCode:
		return fmt.Sprintf("%s/%d/%d", name, t.Number, t.Code)
	default:
		return fmt.Sprintf("%s/%d", name, t.Number)
	}
}

// MarshalText returns the traffic as text.
func (t Traffic) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the text of Traffic.
func (t *Traffic) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTraffic(string(text))
	return err
}

// HasPorts says whether the protocol has ports.
func (t Traffic) HasPorts() bool { return t.Protocol == TCP || t.Protocol == UDP || t.Protocol == SCTP }

// Overlaps says whether a packet can belong to both.
func (t Traffic) Overlaps(other Traffic) bool {
	switch {
	case t.Protocol == "" || other.Protocol == "":
		return true
	case t.Protocol != other.Protocol:
		return false
	case t.HasPorts():
		return t.First == 0 || other.First == 0 || t.First <= other.Last && other.First <= t.Last
	default:
		return t.Number == other.Number && (!t.HasCode || !other.HasCode || t.Code == other.Code)
	}
}

// Compare orders traffic by protocol, then by port or number.
func (t Traffic) Compare(other Traffic) int {
	return cmp.Or(cmp.Compare(t.Protocol, other.Protocol),
		cmp.Compare(t.First, other.First), cmp.Compare(t.Last, other.Last),
		cmp.Compare(t.Number, other.Number), cmp.Compare(t.Code, other.Code))
}

// anyOverlaps says whether a packet can belong to an item of both lists.
func anyOverlaps(a, b []Traffic) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return true
			}
		}
	}
	return false
}

// Covers says whether the traffic includes all of the other traffic.
func (t Traffic) Covers(part Traffic) bool {
	both, overlap := t.Intersect(part)
	return overlap && both == part.WithLastPort()
}

// Intersect returns the traffic that belongs to both, if there is any.
func (t Traffic) Intersect(other Traffic) (Traffic, bool) {
	a, b := t.WithLastPort(), other.WithLastPort()
	switch {
	case !a.Overlaps(b):
		return Traffic{}, false
	case a.Protocol == "":
		return b, true
	case b.Protocol == "" || a == b:
		return a, true
	case !a.HasPorts():
		if a.HasCode {
			return a, true
		}
		return b, true
	case a.First == 0:
		return b, true
	case b.First == 0:
		return a, true
	}
	a.First, a.Last = max(a.First, b.First), min(a.Last, b.Last)
	return a, true
}

// WithLastPort returns the traffic with Last set, which the text of a single port may
// leave out.
func (t Traffic) WithLastPort() Traffic {
	t.Last = max(t.First, t.Last)
	return t
}
