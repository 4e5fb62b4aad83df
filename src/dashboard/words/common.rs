//! What stands on every page, and words that many pages use.

texts! {
    /// What stands on every page, and words that many pages use.
    Common {
        skip: "Skip to content", "跳到正文";
        pages: "Pages", "页面";
        overview: "Overview", "总览";
        topics: "Topics", "主题";
        groups: "Groups", "消费组";
        messages: "Messages", "消息";
        dead_letters: "Dead letters", "死信";
        scheduled: "Scheduled", "定时";
        jobs: "Jobs", "任务";
        clients: "Clients", "客户端";
        alerts: "Alerts", "告警";
        config: "Config", "配置";
        search: "Search", "搜索";
        search_hint: "Topic, group or message id", "主题、消费组或消息 ID";
        ready: "ready", "就绪";
        not_ready: "not ready", "未就绪";
        language: "Language", "语言";
        theme: "Colours", "配色";
        theme_auto: "Automatic", "自动";
        theme_light: "Light", "浅色";
        theme_dark: "Dark", "深色";
        interface: "Interface", "接口文档";
        shortcuts: "Keyboard shortcuts", "键盘快捷键";
        as_of: "as of", "数据时间";
        unknown_note: "A dash means unknown, which is not zero.", "短横线表示未知，未知不等于零。";
        lost:
            "No connection to the broker. What you see is from {0}; trying again …",
            "与服务器的连接已断开，显示的是 {0} 的数据，正在重试…";
        passed: "passed:", "通过：";
        failed: "failed:", "未通过：";
        not_renewed:
            "The broker answers with status {1}: what you see is from {0} and is not renewed.",
            "服务器返回状态 {1}，显示的是 {0} 的数据，未能更新。";
        name: "Name", "名称";
        state: "State", "状态";
        settings: "Settings", "设置";
        save: "Save", "保存";
        create: "Create", "创建";
        delete: "Delete", "删除";
        send: "Send", "发送";
        reload: "Reload", "刷新";
        filter: "Filter", "筛选";
        next_page: "Next page", "下一页";
        first_page: "First page", "第一页";
        confirm_name: "Type {0} to confirm", "输入 {0} 以确认";
        confirm_wrong:
            "The name typed is not {0}. Nothing was changed.",
            "输入的名称不是 {0}，未做任何更改。";
        lag: "Lag", "积压";
        oldest: "Oldest", "最久等待";
        in_flight: "In flight", "处理中";
        retrying: "Retrying", "重试中";
        members: "Members", "成员";
        queues: "Queues", "队列";
        queue: "Queue", "队列";
        topic: "Topic", "主题";
        group: "Group", "消费组";
        paused: "paused", "已暂停";
        ordered: "ordered", "顺序";
        when: "When", "时间";
        key: "Key", "键";
        tag: "Tag", "标签";
        size: "Size", "大小";
        time_hint: "15m, or 2026-01-31T23:59", "15m，或 2026-01-31T23:59";
        done: "Done.", "已完成。";
        only_looked: "Nothing is changed yet. The page shows what would be.", "尚未更改任何内容，页面显示了将会发生的变化。";
        see: "See it", "查看";
        went_wrong: "That did not work", "操作未成功";
        form_kind: "This address takes forms.", "此地址只接受表单。";
        form_foreign:
            "This form was not sent from a page of this broker, or the browser keeps no cookies. \
             Open the page anew and send it once more.",
            "此表单不是从本服务器的页面发出的，或者浏览器没有保存 Cookie。请重新打开页面后再次发送。";
        form_late: "The form did not arrive in time.", "表单没有及时到达。";
        form_large: "The form is too large: at most 1 MiB is taken.", "表单过大：最多 1 MiB。";
        form_odd: "The form has too many fields, or is not UTF-8.", "表单字段过多，或不是 UTF-8。";
        key_search: "Search", "搜索";
        key_rows: "Next and previous row; Enter opens it", "下一行、上一行；回车打开";
        key_theme: "Light, dark, automatic", "浅色、深色、自动";
        key_help: "This list", "显示本列表";
        keys_on: "Keys of one letter do something", "启用单键快捷键";
        close: "Close", "关闭";
    }
}
