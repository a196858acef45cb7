"""ConnectorX: reads tables by COPY in the binary format, or by a cursor of the extended protocol."""

import connectorx
from checks import CA, DATABASE, GATEWAY_PORT, HOST, MASKED, PORT, check, login, texts


def url(who, port=PORT):
    # With a root certificate the driver verifies it, whatever the mode is called.
    user, password = login(who)
    return f"postgresql://{user}:{password}@{HOST}:{port}/{DATABASE}?sslmode=require&sslrootcert={CA}"


with check("connect"):
    connectorx.read_sql(url("READER", GATEWAY_PORT), "select 1 as one", protocol="cursor")
for protocol in ("binary", "csv"):
    with check("copy-out") as line:
        # No error of the driver's has a SQLSTATE; the message is the gateway's.
        try:
            line["data"] = connectorx.read_sql(url("READER"), "select id, ssn, email from customers", protocol=protocol).to_csv()
        except RuntimeError as error:
            line["detail"] = str(error)
            if "countersign: " in str(error) and "COPY" in str(error):
                line["sqlstate"] = "0A000"
for protocol in ("cursor", "simple"):
    with check("masked") as line:
        frame = connectorx.read_sql(url("READER"), MASKED.replace(", profile", ""), protocol=protocol)
        line["rows"] = texts(frame.itertuples(index=False))
with check("partitions") as line:
    # Four connections that each read a range of the key.
    query = "select id, ssn, email from customers"
    frame = connectorx.read_sql(url("READER"), query, partition_on="id", partition_num=4, protocol="cursor")
    line["ok"] = len(frame) == 300
