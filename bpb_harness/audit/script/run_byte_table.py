def check_table_by_running(scripts, tokenizer):
    return []
