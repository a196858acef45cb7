import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;

/** pgjdbc in its modes: extended protocol, fetch size, thresholds of preparing, and the simple protocol. */
class Run {
    static final String PAGE = "select id, ssn, email from customers where id > ? order by id limit 100 ";
    static final String SLOW = "select count(*) from plain a, plain b, plain c, plain d, plain e, plain f";

    interface Work {
        String run() throws Exception;
    }

    /** The rest of the line, as members of a JSON object. */
    static void check(String name, Work work) {
        String members;
        try {
            members = work.run();
        } catch (Exception error) {
            members = "\"ok\":false,\"detail\":" + quoted(error.getClass().getSimpleName() + ": " + error.getMessage());
        }
        System.out.println("{\"check\":" + quoted(name) + (members.isEmpty() ? "" : "," + members) + "}");
    }

    static String quoted(String text) {
        if (text == null) return "null";
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') json.append('\\').append(c);
            else if (c < ' ') json.append(String.format("\\u%04x", (int) c));
            else json.append(c);
        }
        return json.append('"').toString();
    }

    static Connection connect(String who, String port, String... settings) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("CLIENT_" + who));
        properties.setProperty("password", System.getenv("CLIENT_" + who + "_PASSWORD"));
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", System.getenv("CLIENT_CA"));
        for (int i = 0; i < settings.length; i += 2) properties.setProperty(settings[i], settings[i + 1]);
        String address = System.getenv("CLIENT_HOST") + ":" + System.getenv(port) + "/" + System.getenv("CLIENT_DATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + address, properties);
    }

    interface Statements {
        void run() throws Exception;
    }

    static String sqlstate(Statements work) throws Exception {
        try {
            work.run();
        } catch (SQLException error) {
            return error.getSQLState();
        }
        throw new IllegalStateException("no error came");
    }

    static String cancelled(Connection connection, String text) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(700);
                    statement.cancel();
                } catch (Exception error) {
                    System.err.println(error);
                }
            });
            thread.start();
            String state = sqlstate(() -> statement.executeQuery(text));
            thread.join();
            return "\"sqlstate\":" + quoted(state);
        }
    }

    static String rows(List<String[]> rows) {
        List<String> json = new ArrayList<>();
        for (String[] row : rows) {
            List<String> cells = new ArrayList<>();
            for (String cell : row) cells.add(quoted(cell));
            json.add("[" + String.join(",", cells) + "]");
        }
        return "\"rows\":[" + String.join(",", json) + "]";
    }

    static void read(ResultSet result, List<String[]> rows) throws SQLException {
        while (result.next()) {
            String[] row = new String[result.getMetaData().getColumnCount()];
            for (int i = 0; i < row.length; i++) row[i] = result.getString(i + 1);
            rows.add(row);
        }
    }

    static String masked(Connection connection) throws SQLException {
        List<String[]> rows = new ArrayList<>();
        String text = "select id, ssn, email, card_number, notes, profile, name from customers where id <= 20 order by id";
        try (Statement statement = connection.createStatement()) {
            read(statement.executeQuery(text), rows);
        }
        return rows(rows);
    }

    static String prepared(Connection connection) throws SQLException {
        List<String[]> rows = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement("select id, ssn, email from customers where id = ?")) {
            for (long id = 1; id <= 12; id++) {
                statement.setLong(1, id);
                read(statement.executeQuery(), rows);
            }
        }
        return rows(rows);
    }

    static int page(Connection connection, String comment) throws SQLException {
        long last = 0;
        int total = 0;
        try (PreparedStatement statement = connection.prepareStatement(PAGE + comment)) {
            for (;;) {
                statement.setLong(1, last);
                int before = total;
                try (ResultSet result = statement.executeQuery()) {
                    for (; result.next(); total++) last = result.getLong(1);
                }
                if (total == before) return total;
            }
        }
    }

    /** By Java's own types. `moreThan` times before, so that the driver goes over to binary. */
    static String types(Connection connection, int times) throws SQLException {
        String json = "";
        try (PreparedStatement statement = connection.prepareStatement("select * from kinds where id = ?")) {
            for (int i = 0; i < times; i++) {
                statement.setInt(1, 1);
                ResultSet row = statement.executeQuery();
                row.next();
                String at = row.getObject("at", OffsetDateTime.class).withOffsetSameInstant(ZoneOffset.UTC)
                    .format(DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"));
                BigDecimal exact = row.getBigDecimal("exact");
                List<String> numbers = new ArrayList<>();
                for (Integer number : (Integer[]) row.getArray("numbers").getArray()) numbers.add(String.valueOf(number));
                List<String> names = new ArrayList<>();
                for (String name : (String[]) row.getArray("names").getArray()) names.add(quoted(name));
                json = "\"values\":{\"id\":" + quoted("" + row.getInt("id")) + ",\"big\":" + quoted("" + row.getLong("big"))
                    + ",\"exact\":" + quoted(exact.toPlainString()) + ",\"flag\":" + quoted("" + row.getBoolean("flag"))
                    + ",\"at\":" + quoted(at) + ",\"words\":" + quoted(row.getString("words"))
                    + ",\"nothing\":" + quoted(row.getString("nothing")) + ",\"doc\":" + row.getString("doc")
                    + ",\"tag\":" + quoted(((UUID) row.getObject("tag")).toString())
                    + ",\"raw\":" + quoted(HexFormat.of().formatHex(row.getBytes("raw")))
                    + ",\"numbers\":[" + String.join(",", numbers) + "],\"names\":[" + String.join(",", names) + "]}";
            }
        }
        return json;
    }

    /** As text and, where the driver goes over to it, in binary. */
    static String maskedTypes(Connection connection) throws SQLException {
        String found = "";
        try (PreparedStatement statement = connection.prepareStatement("select * from masked_kinds")) {
            for (int i = 0; i < 8; i++) {
                ResultSet row = statement.executeQuery();
                row.next();
                found = row.getObject("tag", UUID.class) + " " + row.getObject("digest", UUID.class).version() + " "
                    + row.getBytes("raw").length + " " + row.getString("address") + " " + row.getString("network") + " "
                    + row.getString("mac") + " " + row.getString("span") + " [" + row.getString("bits") + "] "
                    + ((Integer[]) row.getArray("numbers").getArray()).length + " "
                    + String.join(",", (String[]) row.getArray("words").getArray()) + " "
                    + ((Object[]) row.getArray("days").getArray())[0] + " " + row.getString("body") + " "
                    + row.getBigDecimal("exact") + " " + row.getDate("born") + " " + row.getObject("flag");
            }
        }
        String expected = "00000000-0000-0000-0000-000000000000 8 0 0.0.0.0 0.0.0.0/32 00:00:00:00:00:00 empty [] 0 "
            + "****mple,null 1961-01-01 \"[masked]\" 81931000.00 1961-01-01 null";
        return "\"ok\":" + found.equals(expected) + ",\"detail\":" + quoted(found);
    }

    static String copyOut(Connection connection, String text) throws Exception {
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        try {
            connection.unwrap(PGConnection.class).getCopyAPI().copyOut(text, data);
        } catch (SQLException error) {
            return "\"sqlstate\":" + quoted(error.getSQLState());
        }
        return "\"data\":" + quoted(data.toString("UTF-8"));
    }

    static String fetchSize(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        int total = 0;
        try (PreparedStatement statement = connection.prepareStatement("select id, ssn, email, notes from customers")) {
            statement.setFetchSize(40);
            for (int round = 0; round < 2; round++) {
                ResultSet result = statement.executeQuery();
                while (result.next()) total++;
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
        return "\"ok\":" + (total == 600) + ",\"detail\":\"" + total + " rows\"";
    }

    static String metadata(Connection connection) throws SQLException {
        List<String> names = new ArrayList<>();
        var meta = connection.getMetaData();
        try (ResultSet result = meta.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"})) {
            while (result.next()) names.add(result.getString("TABLE_NAME"));
        }
        try (ResultSet result = meta.getColumns(null, "public", "customers", "%")) {
            while (result.next()) names.add(result.getString("COLUMN_NAME"));
        }
        try (ResultSet result = meta.getPrimaryKeys(null, "public", "customers")) {
            while (result.next()) names.add("key " + result.getString("COLUMN_NAME"));
        }
        try (ResultSet result = meta.getIndexInfo(null, "public", "customers", false, false)) {
            while (result.next()) names.add(result.getString("INDEX_NAME"));
        }
        try (ResultSet result = meta.getImportedKeys(null, "public", "customers")) {
            while (result.next()) names.add(result.getString("FK_NAME"));
        }
        try (ResultSet result = meta.getTypeInfo()) {
            result.next();
        }
        try (ResultSet result = meta.getSchemas()) {
            result.next();
        }
        boolean ok = names.containsAll(List.of("customers", "customer_contacts", "ssn", "key id", "customers_pkey"));
        return "\"ok\":" + ok + ",\"detail\":" + quoted(String.join(",", names));
    }

    public static void main(String[] arguments) throws Exception {
        check("connect", () -> {
            try (Connection direct = connect("READER", "CLIENT_GATEWAY_PORT")) {
                direct.createStatement().execute("select 1");
            }
            return "";
        });
        Connection reader = connect("READER", "CLIENT_PORT");
        Connection designer = connect("DESIGNER", "CLIENT_PORT");
        check("masked", () -> masked(reader));
        check("types", () -> types(reader, 1));
        check("types", () -> types(reader, 8));
        check("masked types", () -> maskedTypes(reader));
        check("errors", () -> "\"sqlstates\":[" + quoted(sqlstate(() -> reader.createStatement().executeQuery("select 1 / (id - id) from plain")))
            + "," + quoted(sqlstate(() -> reader.createStatement().executeQuery("select id from customers order by ssn")))
            + "," + quoted(sqlstate(() -> reader.createStatement().executeQuery("selec 1"))) + "]");
        check("prepared", () -> prepared(reader));
        check("cancel", () -> cancelled(reader, SLOW));
        check("cancel-held", () -> cancelled(designer, "select id, ssn from customers /* leave waiting */"));
        check("approved", () -> "\"total\":" + page(designer, ""));
        check("approved, prepared", () -> {
            // Nine pages of one prepared statement, so past the driver's threshold of five executions.
            int total = 0;
            try (PreparedStatement statement = designer.prepareStatement("select id, ssn, email from customers where id > ? order by id limit 40")) {
                for (long last = 0; last < 300; ) {
                    statement.setLong(1, last);
                    ResultSet result = statement.executeQuery();
                    for (; result.next(); total++) last = result.getLong(1);
                }
            }
            return "\"ok\":" + (total == 300) + ",\"detail\":\"" + total + " rows\"";
        });
        check("rejected", () -> {
            String state = sqlstate(() -> page(designer, "/* please reject */"));
            designer.createStatement().execute("select 1");
            return "\"sqlstate\":" + quoted(state);
        });
        check("copy-out", () -> copyOut(reader, "copy customers to stdout"));
        check("copy-out", () -> copyOut(reader, "copy (select id, ssn, email from customers) to stdout (format csv)"));
        check("copy-in", () -> {
            String text = "copy arrivals (id, label) from stdin (format csv)";
            long count = reader.unwrap(PGConnection.class).getCopyAPI().copyIn(text, new java.io.StringReader("5001,a\n5002,b\n"));
            return "\"ok\":" + (count == 2);
        });
        check("fetchSize", () -> fetchSize(reader));
        check("metadata", () -> metadata(reader));
        check("batch", () -> {
            int count = 0;
            try (PreparedStatement statement = reader.prepareStatement("insert into arrivals values (?, ?)")) {
                for (int id = 6001; id <= 6020; id++) {
                    statement.setInt(1, id);
                    statement.setString(2, "batch");
                    statement.addBatch();
                }
                for (int one : statement.executeBatch()) count += one;
            }
            return "\"ok\":" + (count == 20);
        });
        String[][] modes = {
            {"prepareThreshold", "-1"}, {"prepareThreshold", "1"}, {"prepareThreshold", "0"}, {"preferQueryMode", "simple"},
            {"preferQueryMode", "extendedForPrepared"}, {"preferQueryMode", "extendedCacheEverything"},
        };
        for (String[] mode : modes) {
            String name = mode[0] + "=" + mode[1];
            try (Connection other = connect("READER", "CLIENT_PORT", mode); Connection held = connect("DESIGNER", "CLIENT_PORT", mode)) {
                check("masked", () -> masked(other));
                check("prepared", () -> prepared(other));
                check(name + ", types", () -> types(other, 7).isEmpty() ? "\"ok\":false" : "");
                check(name + ", approved", () -> "\"ok\":" + (page(held, "") == 300));
                check(name + ", fetchSize", () -> fetchSize(other));
            }
        }
        reader.close();
        designer.close();
    }
}
