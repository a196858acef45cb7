// pgx in its modes of execution: it describes and caches statements by default, and can leave both out.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	masked = "select id, ssn, email, card_number, notes, profile::text, name from customers where id <= 20 order by id"
	held   = "select id, ssn from customers /* leave waiting */"
	page   = "select id, ssn, email from customers where id > $1 order by id limit 100"
	slow   = "select count(*) from plain a, plain b, plain c, plain d, plain e, plain f"
)

var ctx = context.Background()

type line map[string]any

// check runs one check; what it returns as an error is its failure.
func check(name string, work func() (line, error)) {
	members, err := work()
	if err != nil {
		members = line{"ok": false, "detail": err.Error()}
	}
	rest, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	quoted, _ := json.Marshal(name)
	comma := ","
	if len(rest) == 2 {
		comma = ""
	}
	fmt.Printf("{\"check\":%s%s%s\n", quoted, comma, rest[1:])
}

func connect(who, port string, mode pgx.QueryExecMode) (*pgx.Conn, error) {
	address := fmt.Sprintf("host=%s port=%s dbname=%s sslmode=verify-full sslrootcert=%s", os.Getenv("CLIENT_HOST"),
		os.Getenv(port), os.Getenv("CLIENT_DATABASE"), os.Getenv("CLIENT_CA"))
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.User, config.Password = os.Getenv("CLIENT_"+who), os.Getenv("CLIENT_"+who+"_PASSWORD")
	config.DefaultQueryExecMode = mode
	return pgx.ConnectConfig(ctx, config)
}

func must(who string, mode pgx.QueryExecMode) *pgx.Conn {
	conn, err := connect(who, "CLIENT_PORT", mode)
	if err != nil {
		panic(err)
	}
	return conn
}

func sqlstate(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fmt.Sprint("none: ", err)
}

// texts reads rows whose first column is a number and whose others are texts.
func texts(rows pgx.Rows, err error) ([][]string, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		values, err := row.Values()
		cells := make([]string, len(values))
		for i, value := range values {
			cells[i] = fmt.Sprint(value)
		}
		return cells, err
	})
}

func pages(conn *pgx.Conn, comment string) (int, error) {
	total, last := 0, int64(0)
	for {
		rows, err := texts(conn.Query(ctx, page+comment, last))
		if err != nil || len(rows) == 0 {
			return total, err
		}
		total += len(rows)
		if _, err := fmt.Sscan(rows[len(rows)-1][0], &last); err != nil {
			return total, err
		}
	}
}

// cancelled cancels as the driver does it when asked to: with a CancelRequest, then it reads what the server answers.
func cancelled(conn *pgx.Conn, text string) (line, error) {
	time.AfterFunc(700*time.Millisecond, func() { _ = conn.PgConn().CancelRequest(ctx) })
	_, err := texts(conn.Query(ctx, text))
	return line{"sqlstate": sqlstate(err)}, nil
}

func prepared(conn *pgx.Conn) (line, error) {
	var all [][]string
	for id := 1; id <= 12; id++ {
		rows, err := texts(conn.Query(ctx, "select id, ssn, email from customers where id = $1", id))
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return line{"rows": all}, nil
}

func types(conn *pgx.Conn) (line, error) {
	var id, big int64
	var exact pgtype.Numeric
	var flag bool
	var at time.Time
	var words string
	var nothing *string
	var doc any
	var tag pgtype.UUID
	var raw []byte
	var numbers []*int32
	var names []*string
	var ssn string
	row := conn.QueryRow(ctx, "select * from kinds where id = $1", 1)
	err := row.Scan(&id, &big, &exact, &flag, &at, &words, &nothing, &doc, &tag, &raw, &numbers, &names, &ssn)
	if err != nil {
		return nil, err
	}
	exactText, err := exact.Value()
	if err != nil {
		return nil, err
	}
	return line{"values": line{
		"id": fmt.Sprint(id), "big": fmt.Sprint(big), "exact": exactText, "flag": fmt.Sprint(flag),
		"at": at.UTC().Format("2006-01-02T15:04:05.000Z"), "words": words, "nothing": nothing, "doc": doc,
		"tag": tag.String(), "raw": hex.EncodeToString(raw), "numbers": numbers, "names": names,
	}}, nil
}

// maskedTypes reads masked columns into the types that a program would declare.
func maskedTypes(conn *pgx.Conn) (line, error) {
	var tag, digest pgtype.UUID
	var raw []byte
	var address, network netip.Prefix
	var mac net.HardwareAddr
	var span pgtype.Range[pgtype.Int4]
	var bits pgtype.Bits
	var numbers []int32
	var words []*string
	var days []time.Time
	var body any
	var exact pgtype.Numeric
	var born time.Time
	var flag *bool
	row := conn.QueryRow(ctx, "select * from masked_kinds")
	err := row.Scan(&tag, &digest, &raw, &address, &network, &mac, &span, &bits, &numbers, &words, &days, &body, &exact, &born, &flag)
	if err != nil {
		return nil, err
	}
	exactText, err := exact.Value()
	if err != nil {
		return nil, err
	}
	found := fmt.Sprintln(tag.String(), digest.String()[14:15], len(raw), address, network, mac, span.LowerType == pgtype.Empty,
		bits.Len, numbers, *words[0], words[1] == nil, days[0].Year(), body, exactText, born.Format("2006-01-02"), flag == nil)
	expected := fmt.Sprintln("00000000-0000-0000-0000-000000000000 8 0 0.0.0.0/32 0.0.0.0/32 00:00:00:00:00:00 true",
		"0 [] ****mple true 1961 [masked] 81931000.00 1961-01-01 true")
	return line{"ok": found == expected, "detail": found}, nil
}

func copyOut(conn *pgx.Conn, text string) (line, error) {
	var data bytes.Buffer
	if _, err := conn.PgConn().CopyTo(ctx, &data, text); err != nil {
		return line{"sqlstate": sqlstate(err)}, nil
	}
	return line{"data": data.String()}, nil
}

func main() {
	cache := pgx.QueryExecModeCacheStatement
	check("connect", func() (line, error) {
		conn, err := connect("READER", "CLIENT_GATEWAY_PORT", cache)
		if err != nil {
			return nil, err
		}
		defer conn.Close(ctx)
		return line{}, conn.Ping(ctx)
	})
	reader, designer := must("READER", cache), must("DESIGNER", cache)
	check("masked", func() (line, error) {
		rows, err := texts(reader.Query(ctx, masked))
		return line{"rows": rows}, err
	})
	check("types", func() (line, error) { return types(reader) })
	check("masked types", func() (line, error) { return maskedTypes(reader) })
	check("errors", func() (line, error) {
		var states []string
		for _, text := range []string{"select 1 / (id - id) from plain", "select id from customers order by ssn", "selec 1"} {
			_, err := texts(reader.Query(ctx, text))
			states = append(states, sqlstate(err))
		}
		return line{"sqlstates": states}, nil
	})
	check("prepared", func() (line, error) { return prepared(reader) })
	check("cancel", func() (line, error) { return cancelled(reader, slow) })
	check("cancel-held", func() (line, error) { return cancelled(designer, held) })
	check("approved", func() (line, error) {
		total, err := pages(designer, "")
		return line{"total": total}, err
	})
	check("rejected", func() (line, error) {
		conn := must("DESIGNER", pgx.QueryExecModeExec)
		defer conn.Close(ctx)
		_, err := pages(conn, " /* please reject */")
		return line{"sqlstate": sqlstate(err)}, conn.Ping(ctx)
	})
	check("copy-out", func() (line, error) { return copyOut(reader, "copy customers to stdout") })
	check("copy-out, binary", func() (line, error) {
		found, err := copyOut(reader, "copy customers (id, ssn) to stdout (format binary)")
		_, isThere := found["data"]
		return line{"ok": isThere || found["sqlstate"] == "0A000"}, err
	})
	check("copy-in", func() (line, error) {
		rows := pgx.CopyFromSlice(50, func(i int) ([]any, error) { return []any{8001 + i, "from pgx"}, nil })
		count, err := reader.CopyFrom(ctx, pgx.Identifier{"arrivals"}, []string{"id", "label"}, rows)
		return line{"ok": count == 50}, err
	})
	check("batch", func() (line, error) {
		batch := &pgx.Batch{}
		for id := 1; id <= 8; id++ {
			batch.Queue("select id, ssn, email from customers where id = $1", id)
		}
		results := reader.SendBatch(ctx, batch)
		for id := 1; id <= 8; id++ {
			rows, err := results.Query()
			found, err := texts(rows, err)
			if err != nil || len(found) != 1 || found[0][0] != fmt.Sprint(id) {
				return line{"ok": false, "detail": fmt.Sprint(found)}, err
			}
		}
		return line{}, results.Close()
	})
	check("transaction", func() (line, error) {
		tx, err := reader.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return nil, err
		}
		rows, err := texts(tx.Query(ctx, masked))
		if err != nil {
			return nil, err
		}
		return line{"ok": len(rows) == 20}, tx.Commit(ctx)
	})
	modes := map[string]pgx.QueryExecMode{
		"cache describe": pgx.QueryExecModeCacheDescribe, "describe exec": pgx.QueryExecModeDescribeExec,
		"exec": pgx.QueryExecModeExec, "simple": pgx.QueryExecModeSimpleProtocol,
	}
	for name, mode := range modes {
		conn, asking := must("READER", mode), must("DESIGNER", mode)
		check("prepared", func() (line, error) { return prepared(conn) })
		check("masked types", func() (line, error) { return maskedTypes(conn) })
		check(name+", types", func() (line, error) { _, err := types(conn); return line{}, err })
		check(name+", approved", func() (line, error) {
			total, err := pages(asking, "")
			return line{"ok": total == 300}, err
		})
		_, _ = conn.Close(ctx), asking.Close(ctx)
	}
	_, _ = reader.Close(ctx), designer.Close(ctx)
}
