"""A contract: what is expected of a dataset, and two runners that say whether it is kept.

The contract is an ExpectationSuite of Great Expectations 1.x (GX) in its own JSON: people write and
read it there, and nothing here invents another language. `suite` parses it strictly, without GX.
`compiled` turns the common types of expectations into the aggregates of one lazy polars select,
which streams over the shards and holds no table; `peer` asks real GX, on only the columns that an
expectation names. Both answer in the shape of GX's own results, without the contents of rows.

    document -> Suite -> Plan, one an expectation -> one select -> Answers -> Results
                      `-> what no plan can answer -> GX  ------------------'

GX is the oracle: `tests/unit/data/contract/test_contract_parity.py` runs both and compares.
"""
