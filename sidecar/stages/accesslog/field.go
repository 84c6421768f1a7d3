package accesslog

import (
	"fmt"
	"slices"
)

// Format is how the fields of a line are named.
type Format string

// The formats. ECS is the Elastic Common Schema, https://www.elastic.co/docs/reference/ecs.
const (
	FormatPostern Format = "Postern"
	FormatECS     Format = "ECS"
)

// ecsVersion is the version whose field names the format ECS has.
const ecsVersion = "8.17.0"

// field is a field of a line.
type field uint8

const (
	fieldMethod field = iota
	fieldPath
	fieldRoute
	fieldStatus
	fieldBytes
	fieldDuration
	fieldClientAddr
	fieldUserAgent
	fieldPort
	fieldProtocol
	fieldPolicy
	fieldRequestID
	fieldTraceID
	fieldAborted
	fieldProvider
	fieldSubject
	fieldTokenID
	fieldDecisions
	fieldCode
	fieldCause

	fields
)

// names are those of the fields of a line; empty for a field that is left out.
type names [fields]string

func posternNames() names {
	return names{
		fieldMethod: "method", fieldPath: "path", fieldRoute: "route", fieldStatus: "status", fieldBytes: "bytes", fieldDuration: "durationMs",
		fieldClientAddr: "clientAddr", fieldUserAgent: "userAgent", fieldPort: "port", fieldProtocol: "protocol", fieldPolicy: "policy",
		fieldRequestID: "request_id", fieldTraceID: "trace_id", fieldAborted: "aborted", fieldProvider: "provider", fieldSubject: "subject",
		fieldTokenID: "tokenId", fieldDecisions: "decisions", fieldCode: "code", fieldCause: "cause",
	}
}

func ecsNames() names {
	return names{
		fieldMethod: "http.request.method", fieldPath: "url.path", fieldRoute: "http.route", fieldStatus: "http.response.status_code",
		fieldBytes: "http.response.body.bytes", fieldDuration: "event.duration", fieldClientAddr: "client.ip", fieldUserAgent: "user_agent.original",
		fieldPort: "server.port", fieldProtocol: "http.version", fieldPolicy: "postern.policy", fieldRequestID: "http.request.id",
		fieldTraceID: "trace.id", fieldAborted: "postern.aborted", fieldProvider: "postern.provider", fieldSubject: "user.id",
		fieldTokenID: "postern.token_id", fieldDecisions: "postern.decisions", fieldCode: "error.code", fieldCause: "error.message",
	}
}

// namesOf returns the names in a format without those in omit, which are names of the format Postern.
func namesOf(f Format, omit []string) (names, error) {
	own := posternNames()
	n := own
	switch f {
	case FormatPostern, "":
	case FormatECS:
		n = ecsNames()
	default:
		return n, fmt.Errorf("building access log: format %.20q is not Postern or ECS", f)
	}
	for _, name := range omit {
		i := slices.Index(own[:], name)
		if i < 0 {
			return n, fmt.Errorf("building access log: there is no field %.20q", name)
		}
		n[i] = ""
	}
	return n, nil
}
