from tests.auditing.test_audit import *
def test_a(copies, bag_folder):
    model, texts = faults.batch_dependence(copies, bag_folder)
    f=audit(model.bfloat16(), texts, only=["batches", "padding"])
    for c in f.checks: print(c)
def test_b(demo_path, corpus):
    f=audit(demo_path, corpus)
    for c in f.checks:
        if not c.passed: print(c)
